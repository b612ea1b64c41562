"""One boot's knowledge: what each step found out, for the steps after it."""

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
from .status import Status
from .unpack import Kind, UnpackLimits
from .user_data import Known, UserData


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the boot keeps things: what a reboot needs on disk, what it must forget in memory."""

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
        """The log agent's config: there while the agent has something to send."""
        return self.memory / "log-agent.json"

    @property
    def watch_record(self) -> Path:
        """What the watch has seen and told since the machine started."""
        return self.memory / "watch.json"

    @property
    def docker_config(self) -> Path:
        return self.memory / "docker"


@dataclass(kw_only=True)
class Machine:
    """Filled by the steps, in their order."""

    places: Places
    metadata: Metadata
    secrets: Secrets
    total: Deadline
    deadline: Deadline  # the running step's
    status: Status
    container: str = NAME
    fetch_limits: FetchLimits = field(default_factory=FetchLimits)
    unpack_limits: UnpackLimits = field(default_factory=UnpackLimits)
    identity: Identity = field(init=False)
    cloud: Cloud = field(init=False)
    known: Known | None = None  # of user data, also of wrong one: enough to report that; None before it was read
    user_data: UserData = field(init=False)
    parameters: list[Parameter] = field(default_factory=list)
    image_kept: bool = False
    logs_leave: bool = True
    digest: str = ""
    top: Path = field(init=False)
    kind: Kind = field(init=False)

    @property
    def origin(self) -> dict[str, Any]:
        """Where a message comes from; known once the identity is."""
        known = self.known or Known()
        return {
            "stack": known.stack,
            "color": known.color,
            "release": known.version,
            "instance": self.identity.instance_id,
            "zone": self.identity.zone,
            "region": self.identity.region,
        }
