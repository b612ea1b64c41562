"""The log agent sends the machine's own logs to the stack's log group; the app's go there by Docker."""

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

from .files import write_atomically
from .metadata import Identity, Metadata
from .retrying import Deadline, retry
from .settings import Settings, parse

LOG = logging.getLogger("boot")
CONTROL = "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
FILES = ("/var/log/syslog", "/var/log/cloud-init-output.log")


def agent_config(settings: Settings, identity: Identity) -> dict[str, Any]:
    prefix = f"{settings.color}/{settings.release}/{identity.instance_id}"
    files = [
        {"file_path": path, "log_group_name": settings.log_group, "log_stream_name": f"{prefix}/{Path(path).stem}"}
        for path in FILES
    ]
    return {"agent": {"region": identity.region}, "logs": {"logs_collected": {"files": {"collect_list": files}}}}


def main(metadata: Metadata, folder: Path, control: str = CONTROL) -> int:
    limit = Deadline(60)
    identity = retry(metadata.identity, what="identity", deadline=limit)
    settings = parse(retry(metadata.user_data, what="user data", deadline=limit))
    if not settings.log_group:
        LOG.info("skip log agent reason=no log group")
        return 0
    path = folder / "log-agent.json"
    write_atomically(path, json.dumps(agent_config(settings, identity)))
    command = [control, "-a", "fetch-config", "-m", "ec2", "-s", "-c", f"file:{path}"]
    return subprocess.run(command, check=False, timeout=120).returncode
