"""Pulumi workspace of a rehearsal: a project folder, a Pulumi home with the provider plugins, and a state backend."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import pulumi.automation as auto

from rehearsal.cli import PulumiCli, pulumi_environment, warmed
from rehearsal.provider import plugins

ROOT = Path(__file__).resolve().parent.parent
USUAL_HOME = Path.home() / ".pulumi"  # where the user's own CLI keeps plugins; read, and never written
DOWNLOAD_LIMIT_S = 600.0  # AWS's plugin has some 200 MB
# What the program and AWS's plugin call.
SERVICES = (
    *("acm", "autoscaling", "budgets", "cloudwatch", "cloudwatchevents", "cloudwatchlogs", "ec2", "ecr", "elbv2"),
    *("firehose", "iam", "kms", "route53", "s3", "sns", "ssm", "sts"),
)


class Provider(StrEnum):
    """Which plugin makes the AWS resources of a rehearsal."""

    REHEARSAL = "rehearsal"
    """The thin one of `rehearsal/provider`."""
    AWS = "aws"
    """The one that users have: slower, since it waits as for AWS, and it validates what AWS would."""


class PluginMissingError(Exception):
    """AWS's own plugin was asked for and can't be had."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """`folder` holds all of it but the project, which is `project`; `warm` is the socket of a warm Python."""

    folder: Path
    project: Path
    cli: PulumiCli
    provider: Provider = Provider.REHEARSAL
    warm: Path | None = None
    passphrase: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """For the CLI, and for whatever runs it. The user's own CLI, home and backend are left alone."""
        first = [*self.cli.folders, Path(sys.executable).parent]  # whose `python3` runs the program
        return {
            "PATH": os.pathsep.join([*map(str, first), os.environ["PATH"]]),
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": self.passphrase,
            "GOGC": "400",  # short-lived and small: collecting its garbage is a tenth of the CLI's time
            **({warmed.VARIABLE: str(self.warm)} if self.warm else {}),
            **pulumi_environment(self.folder / "home"),
        }

    def prepare(self, notify: Callable[[str], None]) -> None:
        """Make the folders and put the plugins in place. Raises PluginMissingError."""
        (self.folder / "backend").mkdir(parents=True, exist_ok=True)
        home = self.folder / "home"
        if self.provider is Provider.REHEARSAL:
            plugins.install(home)
            return
        plugins.install(home, ("docker",))
        self._bring_aws(home, notify)

    def _bring_aws(self, home: Path, notify: Callable[[str], None]) -> None:
        """The plugin on the PATH, the user's installed one, or a download, as `pulumi up` itself would choose."""
        wanted = version("pulumi-aws")
        installed = USUAL_HOME / "plugins" / f"resource-aws-v{wanted}"
        if shutil.which("pulumi-resource-aws"):
            return
        if installed.is_dir():
            (home / "plugins" / installed.name).symlink_to(installed)
            return
        notify(f"downloading the Pulumi plugin aws {wanted}, some 200 MB")
        argv = [str(self.cli.program), "plugin", "install", "resource", "aws", wanted]
        try:
            done = subprocess.run(
                argv,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PluginMissingError(f"`{' '.join(argv)}` did not end within {DOWNLOAD_LIMIT_S:g} s") from error
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it gave no reason"]
            raise PluginMissingError(f"the Pulumi plugin aws {wanted} can't be had: `{' '.join(argv)}`: {said[-1]}")

    def provider_config(self, endpoint: str) -> dict[str, str]:
        """Config that leads AWS's plugin to an emulator; the rehearsal's own takes AWS_ENDPOINT_URL as every SDK."""
        if self.provider is Provider.REHEARSAL:
            return {}
        return {
            **{f"aws:endpoints[0].{service}": endpoint for service in SERVICES},
            "aws:skipCredentialsValidation": "true",
            "aws:skipMetadataApiCheck": "true",
            "aws:s3UsePathStyle": "true",
        }

    def create_stack(self, name: str, *, secrets_provider: str | None = None) -> auto.Stack:
        """A new stack of the project; the environment must hold `environment` by then."""
        options = auto.LocalWorkspaceOptions(secrets_provider=secrets_provider)
        return auto.create_stack(stack_name=name, work_dir=str(self.project), opts=options)


def copy_project(folder: Path) -> Path:
    """A project folder whose stack files can be changed: those are copied, all else is linked."""
    folder.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.suffix == ".yaml" and path.name.startswith("Pulumi."):
            shutil.copy(path, folder / path.name)
        elif not path.name.startswith(".") or path.name == ".venv":
            (folder / path.name).symlink_to(path)
    return folder
