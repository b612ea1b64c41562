"""Container registry in place of ECR: Debian's docker-registry with TLS and a password."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from fleet.waiting import wait_until

USER = "AWS"  # the user name in every authorization token of ECR
START_SECONDS = 15
CERTIFICATE_DAYS = 7  # longer than any rehearsal, short enough to be worthless if leaked
BCRYPT_ROUNDS = 4  # each pull authenticates many times; the password is random and valid for one run


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Address and files of a registry; `folder` contains the images too."""

    address: str
    port: int
    folder: Path
    password: str

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def certificate(self) -> Path:
        """Self-signed certificate, which is also the clients' CA file /etc/docker/certs.d/<endpoint>/ca.crt."""
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    @property
    def passwords(self) -> Path:
        return self.folder / "htpasswd"

    @property
    def config(self) -> Path:
        return self.folder / "config.json"


def certificate_command(registry: Registry) -> list[str]:
    return [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", str(CERTIFICATE_DAYS), "-subj", f"/CN={registry.address}"),
        # Docker refuses a certificate without a subject alternative name.
        *("-addext", f"subjectAltName=IP:{registry.address}"),
        *("-keyout", str(registry.key), "-out", str(registry.certificate)),
    ]


def serve_command(registry: Registry) -> list[str]:
    return ["docker-registry", "serve", str(registry.config)]


def config_text(registry: Registry) -> str:
    """Configuration as JSON, which is valid YAML."""
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(registry.folder / "images")}},
            "http": {
                "addr": registry.endpoint,
                "tls": {"certificate": str(registry.certificate), "key": str(registry.key)},
            },
            "auth": {"htpasswd": {"realm": "bluegreen", "path": str(registry.passwords)}},
        },
        indent=2,
    )


def passwords_text(registry: Registry) -> str:
    hashed = bcrypt.hashpw(registry.password.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()
    return f"{USER}:{hashed}\n"


def prepare(registry: Registry) -> None:
    """Write certificate, password file and configuration."""
    registry.folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(certificate_command(registry), check=True, capture_output=True)
    registry.key.chmod(0o600)
    registry.passwords.write_text(passwords_text(registry))
    registry.config.write_text(config_text(registry))


def not_ready(registry: Registry) -> str | None:
    """Why the registry can't be used yet, or None."""
    basic = base64.b64encode(f"{USER}:{registry.password}".encode()).decode()
    request = urllib.request.Request(f"https://{registry.endpoint}/v2/", headers={"Authorization": f"Basic {basic}"})
    trust = ssl.create_default_context(cafile=str(registry.certificate))
    try:
        with urllib.request.urlopen(request, timeout=2, context=trust) as response:  # noqa: S310 - always https
            return None if response.status == 200 else f"it answered {response.status}"
    except (urllib.error.URLError, OSError) as error:
        return str(error)


@contextmanager
def running(registry: Registry) -> Iterator[Registry]:
    """A running registry for the duration of the block."""
    prepare(registry)
    with (registry.folder / "registry.log").open("ab") as log:
        process = subprocess.Popen(serve_command(registry), stdout=log, stderr=log)
        try:
            wait_until(lambda: not_ready(registry), what=f"registry {registry.endpoint}", deadline_s=START_SECONDS)
            yield registry
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)
