"""Container images, pulled, tagged and pushed by Docker's command line."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .base import Cloud, Created, Handler, Props

_PULL_S = 600.0


def _docker(cloud: Cloud, *arguments: str, login: Props | None = None, timeout: float = 60.0) -> str:
    """The command's output; `login` is a registry's, beside those of the provider's settings."""
    host = cloud.setting("host")
    with _logins([*(cloud.setting("registryAuth") or []), *([login] if login else [])]) as folder:
        command = ["docker", *(["--config", str(folder)] if folder else []), *(["-H", host] if host else [])]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise ValueError(f"docker {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def _logins(logins: Sequence[Props]) -> Iterator[Path | None]:
    """A Docker config folder with these logins; None, for the user's own, when there are none."""
    if not logins:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="docker-login-") as folder:
        auths = {each["address"].removeprefix("https://"): {"auth": _login(each)} for each in logins}
        handle = os.open(f"{folder}/config.json", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"auths": auths}, file)
        yield Path(folder)


def _login(each: dict[str, Any]) -> str:
    return base64.b64encode(f"{each.get('username', '')}:{each.get('password', '')}".encode()).decode()


def _inspect(cloud: Cloud, image: str) -> dict[str, Any] | None:
    try:
        found: list[dict[str, Any]] = json.loads(_docker(cloud, "image", "inspect", image))
    except ValueError as error:
        if "No such image" in str(error) or "no such image" in str(error):
            return None
        raise
    return found[0]


class RemoteImage(Handler):
    pulumi_type = "docker:index/remoteImage:RemoteImage"
    force_new = frozenset({"name"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        found = _inspect(cloud, new["name"])
        if found is None:
            _docker(cloud, "pull", "-q", new["name"], timeout=_PULL_S)
            found = _inspect(cloud, new["name"]) or {}
        return Created(id=f"{found['Id']}{new['name']}", outputs={"imageId": found["Id"]})

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        """Only how it is deleted can change."""

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        if not state.get("keepLocally") and _inspect(cloud, state["name"]) is not None:
            _docker(cloud, "image", "rm", state["name"])


class Tag(Handler):
    pulumi_type = "docker:index/tag:Tag"
    force_new = frozenset({"sourceImage", "targetImage"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        _docker(cloud, "tag", new["sourceImage"], new["targetImage"])
        return Created(id=f"{new['sourceImage']}.{new['targetImage']}")

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        """The provider leaves the name too."""


class RegistryImage(Handler):
    pulumi_type = "docker:index/registryImage:RegistryImage"
    force_new = frozenset({"name"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        _docker(cloud, "push", new["name"], login=new.get("authConfig"), timeout=_PULL_S)
        repository = _repository(new["name"])
        found = _inspect(cloud, new["name"]) or {}
        digest = next((each for each in found.get("RepoDigests") or [] if each.startswith(f"{repository}@")), "@")
        return Created(id=digest.partition("@")[2], outputs={"sha256Digest": digest.partition("@")[2]})

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        """Only how it is deleted can change."""

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        if not state.get("keepRemotely"):
            _erase(_repository(state["name"]), id, [*(cloud.setting("registryAuth") or []), state.get("authConfig")])


def _repository(image: str) -> str:
    """The name without tag or digest; a port before the path is no tag."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _erase(repository: str, digest: str, logins: Sequence[Props | None]) -> None:
    import requests

    host, _, path = repository.partition("/")
    known = [each for each in logins if each and each["address"].endswith(host)]
    auth = (known[-1].get("username", ""), known[-1].get("password", "")) if known else None
    certificate = Path("/etc/docker/certs.d") / host / "ca.crt"
    answer = requests.delete(
        f"https://{host}/v2/{path}/manifests/{digest}",
        auth=auth,
        timeout=30,
        verify=str(certificate) if certificate.exists() else True,
    )
    if answer.status_code not in (202, 404):
        raise ValueError(f"deleting {repository}@{digest}: the registry answered {answer.status_code}")
