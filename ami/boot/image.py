"""Docker image of the release, tagged release:<version>: built or loaded once per instance."""

import json
import logging
import re
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from .cloud import Client
from .commands import CommandError, run
from .files import write_atomically
from .retrying import Deadline
from .unpack import BundleKind
from .user_data import UserData

LOG = logging.getLogger("boot")


def tag(user_data: UserData) -> str:
    return f"release:{user_data.release.version}"


def build_command(top: Path, user_data: UserData) -> list[str]:
    base = ["--build-arg", f"BASE_IMAGE={user_data.base_image}"] if user_data.base_image else []
    return ["docker", "build", "--tag", tag(user_data), *base, str(top)]


def load_command(top: Path) -> list[str]:
    return ["docker", "load", "--input", str(top / "image.tar")]


def prepare(kind: BundleKind, top: Path, user_data: UserData, deadline: Deadline) -> None:
    if kind is BundleKind.SOURCE:
        run(build_command(top, user_data), deadline=deadline)
        return
    loaded = loaded_image(run(load_command(top), deadline=deadline))
    run(["docker", "tag", loaded, tag(user_data)], deadline=deadline)


def loaded_image(output: str) -> str:
    """The name, or for an untagged image the id, that `docker load` printed."""
    images = re.findall(r"^Loaded image(?: ID)?: (\S+)$", output, re.MULTILINE)
    if len(images) != 1:
        raise CommandError(f"image.tar holds {len(images)} images ({', '.join(images)}); it must hold exactly one")
    return str(images[0])


def log_in(client: Client, user_data: UserData, docker_config: Path) -> None:
    """Write what `docker login` would; the registry's token is on no command line and gone after a reboot."""
    data = client.get_authorization_token()["authorizationData"][0]
    host = urlsplit(data["proxyEndpoint"]).netloc
    if user_data.base_image.split("/")[0] != host:
        LOG.info("skip login base=%s registry=%s", user_data.base_image, host)
        return
    auths = {"auths": {host: {"auth": data["authorizationToken"]}}}
    write_atomically(docker_config / "config.json", json.dumps(auths), mode=0o600)


def _identity(user_data: UserData) -> dict[str, str]:
    return {**asdict(user_data.release), "base": user_data.base_image}


def save_record(record: Path, user_data: UserData, deadline: Deadline) -> None:
    write_atomically(record, json.dumps({**_identity(user_data), "image": _image_id(user_data, deadline)}) + "\n")


def is_cached(record: Path, user_data: UserData, deadline: Deadline) -> bool:
    """Whether an earlier boot prepared this very image; in doubt, it is prepared again."""
    try:
        saved = json.loads(record.read_text(encoding="utf-8"))
        image = saved.pop("image")
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    try:
        return bool(saved == _identity(user_data) and image == _image_id(user_data, deadline))
    except CommandError:
        return False


def _image_id(user_data: UserData, deadline: Deadline) -> str:
    return run(["docker", "image", "inspect", "--format", "{{.Id}}", tag(user_data)], deadline=deadline, quiet=True)
