"""Log agent for the system's and the boots' logs; the app's log is sent by Docker."""

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

from .boot_context import Paths
from .files import write_atomically
from .metadata import Identity, Metadata
from .retrying import Deadline, retry
from .user_data import UserData, parse

LOG = logging.getLogger("boot")
CONTROL = "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
FLUSH_SECONDS = 2  # the agent's default is 5: the last lines must be sent before the instance is terminated
CONTROL_SECONDS = 90.0  # with the minute for the metadata below the unit's TimeoutStartSec
SYSTEM_LOG = Path("/var/log/syslog")
FIRST_BOOT_LOG = Path("/var/log/cloud-init-output.log")


def agent_config(user_data: UserData, identity: Identity, boot_log: Path) -> dict[str, Any]:
    prefix = f"{user_data.color}/{user_data.release.version}/{identity.instance_id}"
    groups = {
        SYSTEM_LOG: user_data.log_groups.system,
        FIRST_BOOT_LOG: user_data.log_groups.boot,
        boot_log: user_data.log_groups.boot,
    }
    files = [
        {"file_path": str(path), "log_group_name": group, "log_stream_name": f"{prefix}/{path.stem}"}
        for path, group in groups.items()
        if group
    ]
    logs = {"force_flush_interval": FLUSH_SECONDS, "logs_collected": {"files": {"collect_list": files}}}
    return {"agent": {"region": identity.region}, "logs": logs}


def main(metadata: Metadata, paths: Paths, control: str = CONTROL) -> int:
    deadline = Deadline(60)
    identity = retry(metadata.identity, what="identity", deadline=deadline)
    user_data = parse(retry(metadata.user_data, what="user data", deadline=deadline))
    if not user_data.log_groups.system and not user_data.log_groups.boot:
        LOG.info("skip log agent reason=no log group")
        return 0
    path = paths.log_agent
    write_atomically(path, json.dumps(agent_config(user_data, identity, paths.log)))
    command = [control, "-a", "fetch-config", "-m", "ec2", "-s", "-c", f"file:{path}"]
    try:
        return subprocess.run(command, check=False, timeout=CONTROL_SECONDS).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        LOG.error("start log agent failed error=%s", error)  # the unit retries, the app serves meanwhile
        return 1
