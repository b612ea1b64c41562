"""Pulumi's own engine for a rehearsal: the CLI, its state in the run's folder, AWS's provider at the emulator."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import pulumi.automation as auto

ROOT = Path(__file__).resolve().parent.parent
STATE_DIR = "BLUEGREEN_STATE_DIR"
PROJECT = "project"
# What the program and its provider call.
SERVICES = (
    *("acm", "autoscaling", "budgets", "cloudwatch", "cloudwatchevents", "cloudwatchlogs", "ec2", "ecr", "elbv2"),
    *("firehose", "iam", "kms", "route53", "s3", "sns", "ssm", "sts"),
)


def environment(folder: Path) -> dict[str, str]:
    """For the CLI: a backend of the run's own, with a passphrase that nobody needs afterwards."""
    (folder / "backend").mkdir(parents=True, exist_ok=True)
    return {
        STATE_DIR: str(folder),
        "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def provider_config(endpoint: str) -> dict[str, str]:
    """Config that leads AWS's provider to an endpoint of one's own; keys are property paths."""
    found = {f"aws:endpoints[0].{service}": endpoint for service in SERVICES}
    return found | {
        "aws:skipCredentialsValidation": "true",
        "aws:skipMetadataApiCheck": "true",
        "aws:s3UsePathStyle": "true",
    }


def create_stack(name: str) -> auto.Stack:
    """A stack with the committed values, in a copy of the project: config that is set must not touch the repository."""
    folder = _project()
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.suffix == ".yaml" and path.name.startswith("Pulumi."):
            shutil.copy(path, folder / path.name)
        elif not path.name.startswith(".") or path.name == ".venv":
            (folder / path.name).symlink_to(path)
    return auto.create_stack(stack_name=name, work_dir=str(folder))


def open_stack(name: str) -> auto.Stack:
    """For scripts, as BLUEGREEN_STACKS names it."""
    return auto.select_stack(stack_name=name, work_dir=str(_project()))


def _project() -> Path:
    return Path(os.environ[STATE_DIR]) / PROJECT
