"""Config files mounted into instances: the emulator's endpoints, and credentials. Nothing else differs from AWS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rehearsal.cloud.instances import Mount

ENDPOINTS_FILE = "/etc/systemd/system.conf.d/10-endpoints.conf"
DOCKER_FILE = "/etc/systemd/system/docker.service.d/10-credentials.conf"


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Addresses that instances use."""

    aws: str
    metadata: str
    registry: str = ""
    registry_certificate: Path | None = None


def endpoints_text(endpoints: Endpoints) -> str:
    return (
        "[Manager]\n"
        f'DefaultEnvironment="AWS_ENDPOINT_URL={endpoints.aws}" '
        f'"AWS_EC2_METADATA_SERVICE_ENDPOINT={endpoints.metadata}"\n'
    )


def credentials_text() -> str:
    """Docker's awslogs driver reads the instance role from 169.254.169.254 only, where nothing listens here."""
    return '[Service]\nEnvironment="AWS_ACCESS_KEY_ID=rehearsal" "AWS_SECRET_ACCESS_KEY=rehearsal"\n'


def write(folder: Path, endpoints: Endpoints) -> list[Mount]:
    folder.mkdir(parents=True, exist_ok=True)
    mounts = [
        Mount(source=folder / "endpoints.conf", target=ENDPOINTS_FILE),
        Mount(source=folder / "credentials.conf", target=DOCKER_FILE),
    ]
    mounts[0].source.write_text(endpoints_text(endpoints))
    mounts[1].source.write_text(credentials_text())
    if endpoints.registry and endpoints.registry_certificate:
        target = f"/etc/docker/certs.d/{endpoints.registry}/ca.crt"
        mounts.append(Mount(source=endpoints.registry_certificate.resolve(), target=target))
    return mounts
