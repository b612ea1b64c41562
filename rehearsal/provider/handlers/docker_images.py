"""Container images: pull, tag and push with Docker's command line."""

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

from .base import AwsClients, Created, Handler, Props

_PULL_TIMEOUT_S = 600.0


def _docker(aws: AwsClients, *arguments: str, login: Props | None = None, timeout: float = 60.0) -> str:
    """Output of the command; `login` is for a registry, in addition to those of the provider's settings."""
    host = aws.setting("host")
    with _logins([*(aws.setting("registryAuth") or []), *([login] if login else [])]) as folder:
        command = ["docker", *(["--config", str(folder)] if folder else []), *(["-H", host] if host else [])]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise ValueError(f"docker {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def _logins(logins: Sequence[Props]) -> Iterator[Path | None]:
    """A Docker config folder with these logins; without any None, for the user's own config."""
    if not logins:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="docker-login-") as folder:
        auths = {login["address"].removeprefix("https://"): {"auth": _login(login)} for login in logins}
        handle = os.open(f"{folder}/config.json", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"auths": auths}, file)
        yield Path(folder)


def _login(login: dict[str, Any]) -> str:
    return base64.b64encode(f"{login.get('username', '')}:{login.get('password', '')}".encode()).decode()


def _inspect(aws: AwsClients, image: str) -> dict[str, Any] | None:
    try:
        actual: list[dict[str, Any]] = json.loads(_docker(aws, "image", "inspect", image))
    except ValueError as error:
        if "No such image" in str(error) or "no such image" in str(error):
            return None
        raise
    return actual[0]


class RemoteImageHandler(Handler):
    pulumi_type = "docker:index/remoteImage:RemoteImage"
    force_new = frozenset({"name"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        actual = _inspect(aws, new["name"])
        if actual is None:
            _docker(aws, "pull", "-q", new["name"], timeout=_PULL_TIMEOUT_S)
            actual = _inspect(aws, new["name"]) or {}
        return Created(id=f"{actual['Id']}{new['name']}", outputs={"imageId": actual["Id"]})

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        """Only the options of its deletion can change."""

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        if not state.get("keepLocally") and _inspect(aws, state["name"]) is not None:
            _docker(aws, "image", "rm", state["name"])


class ImageTagHandler(Handler):
    pulumi_type = "docker:index/tag:Tag"
    force_new = frozenset({"sourceImage", "targetImage"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        _docker(aws, "tag", new["sourceImage"], new["targetImage"])
        return Created(id=f"{new['sourceImage']}.{new['targetImage']}")

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        """Pulumi's Docker provider doesn't delete tags either."""


class RegistryImageHandler(Handler):
    pulumi_type = "docker:index/registryImage:RegistryImage"
    force_new = frozenset({"name"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        _docker(aws, "push", new["name"], login=new.get("authConfig"), timeout=_PULL_TIMEOUT_S)
        repository = _repository(new["name"])
        actual = _inspect(aws, new["name"]) or {}
        digest = next(
            (reference for reference in actual.get("RepoDigests") or [] if reference.startswith(f"{repository}@")), "@"
        )
        return Created(id=digest.partition("@")[2], outputs={"sha256Digest": digest.partition("@")[2]})

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        """Only the options of its deletion can change."""

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        if not state.get("keepRemotely"):
            _erase(_repository(state["name"]), id, [*(aws.setting("registryAuth") or []), state.get("authConfig")])


def _repository(image: str) -> str:
    """The name without tag or digest, but with a registry's port."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _erase(repository: str, digest: str, logins: Sequence[Props | None]) -> None:
    import requests

    host, _, path = repository.partition("/")
    known = [login for login in logins if login and login["address"].endswith(host)]
    auth = (known[-1].get("username", ""), known[-1].get("password", "")) if known else None
    certificate = Path("/etc/docker/certs.d") / host / "ca.crt"
    response = requests.delete(
        f"https://{host}/v2/{path}/manifests/{digest}",
        auth=auth,
        timeout=30,
        verify=str(certificate) if certificate.exists() else True,
    )
    if response.status_code not in (202, 404):
        raise ValueError(f"deleting {repository}@{digest}: the registry returned {response.status_code}")
