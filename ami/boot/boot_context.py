"""Boot context: paths, and what each step found out for the next ones."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cloud import Cloud
from .container import NAME
from .fetch import FetchLimits
from .masking import Secrets
from .metadata import Identity, Metadata
from .parameters import Parameter
from .retrying import Deadline
from .status import BootStatus
from .unpack import BundleKind, UnpackLimits
from .user_data import ReportingInfo, UserData


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Files of the boot: on disk what a reboot needs, in memory what it must not find."""

    disk: Path = Path("/var/lib/bluegreen")
    memory: Path = Path("/run/bluegreen")

    @property
    def status(self) -> Path:
        return self.disk / "status.json"

    @property
    def log(self) -> Path:
        """The boot's own lines, for the log agent: it reads files, not the journal."""
        return self.disk / "boot.log"

    @property
    def image_record(self) -> Path:
        return self.disk / "image.json"

    @property
    def work(self) -> Path:
        return self.disk / "work"

    @property
    def bundle(self) -> Path:
        return self.work / "bundle"

    @property
    def env_file(self) -> Path:
        return self.memory / "app.env"

    @property
    def log_agent(self) -> Path:
        """The log agent's config; it exists only while the agent runs."""
        return self.memory / "log-agent.json"

    @property
    def watch_record(self) -> Path:
        """State of the watch since the instance started."""
        return self.memory / "watch.json"

    @property
    def docker_config(self) -> Path:
        return self.memory / "docker"


@dataclass(kw_only=True)
class BootContext:
    """Filled by the steps, in their order."""

    paths: Paths
    metadata: Metadata
    secrets: Secrets
    total: Deadline
    deadline: Deadline  # the running step's
    status: BootStatus
    container: str = NAME
    fetch_limits: FetchLimits = field(default_factory=FetchLimits)
    unpack_limits: UnpackLimits = field(default_factory=UnpackLimits)
    identity: Identity = field(init=False)
    cloud: Cloud = field(init=False)
    reporting_info: ReportingInfo | None = None  # also of invalid user data; None before it was read
    user_data: UserData = field(init=False)
    parameters: list[Parameter] = field(default_factory=list)
    image_cached: bool = False
    ships_logs: bool = True
    digest: str = ""
    top: Path = field(init=False)
    kind: BundleKind = field(init=False)

    @property
    def origin(self) -> dict[str, Any]:
        """The origin fields of a message; needs the identity."""
        info = self.reporting_info or ReportingInfo()
        return {
            "stack": info.stack,
            "color": info.color,
            "release": info.version,
            "instance": self.identity.instance_id,
            "zone": self.identity.zone,
            "region": self.identity.region,
        }
