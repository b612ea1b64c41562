"""Settings of one color: its release, AMI, and number of instances."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from ami.boot.user_data import (
    SHA256,
    SHA256_ALLOWED,
    URL_ALLOWED,
    VERSION,
    VERSION_ALLOWED,
    Release,
    bundle_key,
    is_release_url,
)
from config.values import Model, Text, WholeNumber

MAX_INSTANCES = 100
AMI = re.compile(r"ami-[0-9a-f]{8}([0-9a-f]{9})?")
AMI_ALLOWED = "an image id, such as ami-0123456789abcdef0"


class ColorSettings(Model):
    """Without a version the color is off."""

    version: Annotated[str, Text(VERSION, VERSION_ALLOWED, optional=True)] = Field(
        default="", validation_alias="release"
    )
    url: Annotated[str, Text(is_release_url, URL_ALLOWED, optional=True)] = Field(
        default="", validation_alias="releaseUrl"
    )
    sha256: Annotated[str, Text(SHA256, SHA256_ALLOWED, optional=True)] = ""
    ami: Annotated[str, Text(AMI, AMI_ALLOWED, optional=True)] = Field(default="", validation_alias="amiId")
    min_size: Annotated[int, WholeNumber(1, MAX_INSTANCES)] = 1
    max_size: Annotated[int, WholeNumber(1, MAX_INSTANCES)] = 2

    @property
    def is_on(self) -> bool:
        return bool(self.version)

    @property
    def release(self) -> Release:
        """The release of its instances; only for a color that is on."""
        return Release(version=self.version, url=self.url, sha256=self.sha256)

    @property
    def fleet(self) -> tuple[str, ...]:
        """The settings whose change replaces the Auto Scaling group; empty while the color is off."""
        return (self.version, self.url, self.sha256, self.ami) if self.is_on else ()

    @property
    def deployed(self) -> dict[str, str]:
        """The settings that a deploy changes, by their keys in config and outputs.

        The release is last: if writing is interrupted, a config still names the old one, and its checksum is refused.
        """
        return {"amiId": self.ami, "releaseUrl": self.url, "sha256": self.sha256, "release": self.version}

    @classmethod
    def from_output(cls, output: Mapping[str, Any]) -> ColorSettings:
        """As the stack's last update left it, not validated: an older program may have had other rules."""
        found = {key: str(output.get(key) or "") for key in cls().deployed}
        return cls.model_construct(
            version=found["release"], url=found["releaseUrl"], sha256=found["sha256"], ami=found["amiId"]
        )

    def with_release(self, release: Release, ami: str) -> ColorSettings:
        return self.model_copy(
            update={"version": release.version, "url": release.url, "sha256": release.sha256, "ami": ami}
        )


def color_problems(color: str, settings: ColorSettings) -> list[str]:
    """Problems of combinations of valid values: sentences that begin with the key."""
    problems = []
    if settings.min_size > settings.max_size:
        problems.append(
            f"{color}.minSize: {settings.min_size}: allowed is at most {color}.maxSize, which is {settings.max_size}"
        )
    if not settings.is_on:
        return problems
    for key, value, allowed in (("releaseUrl", settings.url, URL_ALLOWED), ("amiId", settings.ami, AMI_ALLOWED)):
        if not value:
            problems.append(f"{color}.{key}: (not set): release {settings.version} needs it; allowed is {allowed}")
    if settings.url.startswith("s3://"):
        problems += _bundle_problems(color, settings)
    return problems


def _bundle_problems(color: str, settings: ColorSettings) -> list[str]:
    problems = []
    if not settings.sha256:
        problems.append(
            f"{color}.sha256: (not set): {settings.url} is in S3; allowed is its sha256, 64 hexadecimal digits"
        )
    # The instances' role can read nothing else, and a release under another one's name would mislead.
    if settings.url.split("/", 3)[3] != (key := bundle_key(settings.version)):
        problems.append(
            f"{color}.releaseUrl: {settings.url}: release {settings.version} is published as s3://<bucket>/{key}"
        )
    return problems
