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

from rehearsal.cli import PulumiCli, fork_client, pulumi_environment
from rehearsal.provider import plugins

ROOT = Path(__file__).resolve().parent.parent
USER_HOME = Path.home() / ".pulumi"  # where the user's own CLI keeps plugins; read, and never written
DOWNLOAD_TIMEOUT_S = 600.0  # AWS's plugin has some 200 MB
# Services that the program and AWS's plugin call.
SERVICES = (
    *("acm", "autoscaling", "budgets", "cloudwatch", "cloudwatchevents", "cloudwatchlogs", "ec2", "ecr", "elbv2"),
    *("firehose", "iam", "kms", "route53", "s3", "sns", "ssm", "sts"),
)


class ProviderPlugin(StrEnum):
    """Provider plugin that creates the AWS resources of a rehearsal."""

    REHEARSAL = "rehearsal"
    """This project's own, in `rehearsal/provider`."""
    AWS = "aws"
    """AWS's own, as in production: slower, since it waits as for AWS, and with its validation."""


class PluginMissingError(Exception):
    """AWS's own plugin was requested and can't be installed."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Pulumi home, backend and plugins below `folder`; `warm` is the socket of the preloaded Python process."""

    folder: Path
    project: Path
    cli: PulumiCli
    provider: ProviderPlugin = ProviderPlugin.REHEARSAL
    warm: Path | None = None
    passphrase: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the CLI. The user's own CLI, home and backend are left alone."""
        first = [*self.cli.folders, Path(sys.executable).parent]  # whose `python3` runs the program
        return {
            "PATH": os.pathsep.join([*map(str, first), os.environ["PATH"]]),
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": self.passphrase,
            "GOGC": "400",  # short-lived and small: collecting its garbage is a tenth of the CLI's time
            **({fork_client.VARIABLE: str(self.warm)} if self.warm else {}),
            **pulumi_environment(self.folder / "home"),
        }

    def prepare(self, notify: Callable[[str], None]) -> None:
        """Create the folders and install the plugins. Raises PluginMissingError."""
        (self.folder / "backend").mkdir(parents=True, exist_ok=True)
        home = self.folder / "home"
        if self.provider is ProviderPlugin.REHEARSAL:
            plugins.install(home)
            return
        plugins.install(home, ("docker",))
        self._install_aws_plugin(home, notify)

    def _install_aws_plugin(self, home: Path, notify: Callable[[str], None]) -> None:
        """From the PATH, the user's Pulumi home, or a download: the order in which `pulumi up` looks for it."""
        required = version("pulumi-aws")
        installed = USER_HOME / "plugins" / f"resource-aws-v{required}"
        if shutil.which("pulumi-resource-aws"):
            return
        if installed.is_dir():
            (home / "plugins" / installed.name).symlink_to(installed)
            return
        notify(f"downloading the Pulumi plugin aws {required}, some 200 MB")
        argv = [str(self.cli.program), "plugin", "install", "resource", "aws", required]
        try:
            done = subprocess.run(
                argv,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PluginMissingError(f"`{' '.join(argv)}` did not finish within {DOWNLOAD_TIMEOUT_S:g} s") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason reported"]
            raise PluginMissingError(f"can't install the Pulumi plugin aws {required}: `{' '.join(argv)}`: {lines[-1]}")

    def provider_config(self, endpoint: str) -> dict[str, str]:
        """Config that points AWS's plugin to the emulator; the rehearsal's own reads AWS_ENDPOINT_URL."""
        if self.provider is ProviderPlugin.REHEARSAL:
            return {}
        return {
            **{f"aws:endpoints[0].{service}": endpoint for service in SERVICES},
            "aws:skipCredentialsValidation": "true",
            "aws:skipMetadataApiCheck": "true",
            "aws:s3UsePathStyle": "true",
        }

    def create_stack(self, name: str, *, secrets_provider: str | None = None) -> auto.Stack:
        """A new stack of the project; the variables of `environment` must be set by then."""
        options = auto.LocalWorkspaceOptions(secrets_provider=secrets_provider)
        return auto.create_stack(stack_name=name, work_dir=str(self.project), opts=options)


def copy_project(folder: Path) -> Path:
    """A project folder whose stack files can be changed: they are copied, everything else is symlinked."""
    folder.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.suffix == ".yaml" and path.name.startswith("Pulumi."):
            shutil.copy(path, folder / path.name)
        elif not path.name.startswith(".") or path.name == ".venv":
            (folder / path.name).symlink_to(path)
    return folder
