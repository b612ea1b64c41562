"""Diagnosis of a workstation, AWS account and stack: tools, credentials, state, AMI and quotas, with the fixes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from importlib.metadata import version as installed_version
from typing import Any

import typer

from fleet.command_lines import bluegreen_line, pulumi_line
from fleet.deployments import is_current
from fleet.state import client
from scripts.cli.display import Display, exit_codes, update_error
from scripts.cli.exits import Exit, ScriptError
from scripts.cli.options import JsonOption, StackOption, app
from scripts.deploy import IMAGE_NAMES, newest_of
from scripts.rollout.direct_rollback import REGION_KEY, REGION_VARIABLES
from scripts.stack.automation import NAMESPACE, NO_CLI, NO_STACK, ROOT, Value, read_facts, selected_stack_on_disk
from scripts.stack.config_change import problem
from scripts.stack.config_file import StackFileError, read_config

MIN_PULUMI = (3, 238, 0)  # before, an error in an after-hook did not fail the update
DEADLINE_S = 20.0
PULUMI_S = 15.0  # one run of the CLI: a state bucket far away answers within 3
BUILDER_VCPUS = 2  # Packer's instance, as ami/variables.pkr.hcl has it
STANDARD_FAMILIES = "acdhimrtz"  # those that quota L-1216C47A counts, by their first letter
VCPU_QUOTA, ADDRESS_QUOTA = "L-1216C47A", "L-0263D0A3"


class CheckState(StrEnum):
    """Result of a check. A warning stops no command now."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of a check, and the command that fixes it."""

    name: str
    state: CheckState
    found: str
    type: str = ""


class MissingError(Exception):
    """A check failed: what was found, and the command that fixes it."""

    state = CheckState.FAILED

    def __init__(self, found: str, type: str = "") -> None:
        super().__init__(found)
        self.type = type


class WarningError(MissingError):
    state = CheckState.WARNING


class SkippedError(MissingError):
    """Another check must pass first."""

    state = CheckState.SKIPPED


@dataclass(frozen=True)
class DoctorCheck:
    """`run` returns what was found, or raises MissingError."""

    name: str
    run: Callable[[], str]

    def result(self) -> Finding:
        try:
            return Finding(name=self.name, state=CheckState.OK, found=within(DEADLINE_S, self.run))
        except MissingError as error:
            return Finding(name=self.name, state=error.state, found=str(error), type=error.type)
        except Exception as error:  # whatever it is: the other checks matter too
            found = str(error) if isinstance(error, ScriptError) else update_error(str(error))
            return Finding(name=self.name, state=CheckState.FAILED, found=found or type(error).__name__)


def within(seconds: float, work: Callable[[], str]) -> str:
    """The result of `work`, or its error; raises MissingError after the timeout, and leaves its thread running."""
    outcomes: list[Callable[[], str]] = []

    def run() -> None:
        try:
            result = work()
            outcomes.append(lambda: result)
        except BaseException as error:
            raised = error
            outcomes.append(lambda: _raise(raised))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcomes:
        raise MissingError(f"no answer within {seconds:g} s")
    return outcomes[0]()


def _raise(error: BaseException) -> str:
    raise error


# -- Pulumi ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """A config value or an output."""

    value: Any


class NoAnswerError(ScriptError):
    """Pulumi's CLI failed or timed out; the message has its output."""


def run_pulumi(*arguments: str) -> str:
    argv = ["pulumi", *arguments, "--non-interactive"]
    try:
        done = subprocess.run(
            argv,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PULUMI_S,
            check=True,
        )
    except FileNotFoundError as error:
        raise SkippedError("pulumi is not on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(f"`{' '.join(argv)}` gave no answer within {PULUMI_S:g} s") from error
    except subprocess.CalledProcessError as error:
        raise NoAnswerError(update_error(error.stderr)) from error
    return done.stdout


@dataclass
class CliStack:
    """The stack for `read_facts`, by runs of the CLI with a timeout."""

    name: str

    def outputs(self) -> Mapping[str, Value]:
        found = json.loads(run_pulumi("stack", "output", "--json", "--stack", self.name))
        return {key: Held(value) for key, value in found.items()}

    def get_all_config(self) -> Mapping[str, Value]:
        found = json.loads(run_pulumi("config", "--json", "--show-secrets", "--stack", self.name))
        return {key: Held(each.get("value", "")) for key, each in found.items()}

    def set_config(self, key: str, value: Any, *, path: bool = False) -> None:
        raise NotImplementedError("nothing is written here")

    def up(self, *, on_output: Any = None, refresh: bool = False) -> Any:
        raise NotImplementedError("nothing is changed here")


@dataclass
class PulumiChecks:
    """Checks of Pulumi, in order: each needs the previous one."""

    option: str
    """The --stack option; empty takes the selected stack."""
    stack: str = ""

    def all(self) -> list[DoctorCheck]:
        return [
            DoctorCheck("Pulumi CLI", self.cli),
            DoctorCheck("Pulumi's AWS plugin", self.plugin),
            DoctorCheck("state backend", self.login),
            DoctorCheck("stack", self.selected),
            DoctorCheck("config", self.config),
        ]

    def cli(self) -> str:
        try:
            installed = run_pulumi("version").strip()
        except SkippedError:
            raise MissingError(NO_CLI, "curl -fsSL https://get.pulumi.com | sh") from None
        found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", installed)
        if not found or tuple(map(int, found.groups())) < MIN_PULUMI:
            raise MissingError(
                f"{installed} at {shutil.which('pulumi')}; 3.238 or later is needed",
                "curl -fsSL https://get.pulumi.com | sh",
            )
        return installed

    def plugin(self) -> str:
        required = installed_version("pulumi_aws")
        if binary := shutil.which("pulumi-resource-aws"):
            return f"{binary}, on the PATH"
        installed = {
            each["version"] for each in json.loads(run_pulumi("plugin", "ls", "--json")) if each["name"] == "aws"
        }
        if required in installed:
            return required
        # Pulumi downloads it automatically, unless this variable is set.
        kind = MissingError if os.environ.get("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION") else WarningError
        raise kind(
            f"{required} is not installed; Pulumi downloads it with the first update",
            f"pulumi plugin install resource aws {required}",
        )

    def login(self) -> str:
        try:
            login = json.loads(run_pulumi("whoami", "--json"))
        except NoAnswerError as error:
            raise MissingError(str(error), "pulumi login 's3://BUCKET?region=REGION'") from error
        return f"{login.get('url', 'unknown')}, as {login.get('user', 'unknown')}"

    def selected(self) -> str:
        named = ("--stack", self.option) if self.option else ()
        try:
            self.stack = run_pulumi("stack", "--show-name", *named).strip()
        except NoAnswerError as error:
            if "no stack named" in str(error):
                raise MissingError(str(error), "pulumi stack ls") from error
            if "no stack selected" in str(error):
                raise MissingError(NO_STACK, "pulumi stack select NAME") from error
            raise SkippedError(str(error)) from error
        return f"{self.stack}, {'named' if self.option else 'selected'}"

    def config(self) -> str:
        if not self.stack:
            raise SkippedError("no stack to compare it with")
        facts = read_facts(CliStack(self.stack), required=False)
        if refused := problem(facts.stack, facts.config):
            raise MissingError(refused, pulumi_line("config", stack=self.stack))
        if not facts.outputs:
            raise WarningError("the stack has no resources yet", pulumi_line("up", stack=self.stack))
        if not is_current(facts.last, facts.desired):
            raise MissingError(
                "this checkout's config is older than the stack's last change",
                bluegreen_line("sync-config", stack=self.stack),
            )
        return f"up to date with the stack, {facts.last.active} is the active color"


# -- AWS ------------------------------------------------------------------------------------------------------------


@dataclass
class AwsChecks:
    """Checks of AWS, independent of Pulumi: the selected stack and its region are read from files."""

    option: str
    account: str = ""

    def all(self) -> list[DoctorCheck]:
        return [
            DoctorCheck("AWS region", self.regions),
            DoctorCheck("AWS credentials", self.credentials),
            DoctorCheck("machine image", self.image),
            DoctorCheck("vCPU quota", self.vcpus),
            DoctorCheck("Elastic IP quota", self.addresses),
        ]

    @cached_property
    def stack(self) -> str:
        try:
            return self.option or selected_stack_on_disk()
        except ScriptError:
            return ""

    @cached_property
    def config(self) -> Mapping[str, Any]:
        try:
            return read_config(ROOT / f"Pulumi.{self.stack}.yaml") if self.stack else {}
        except StackFileError:
            return {}

    @cached_property
    def own_region(self) -> str:
        return str(self.config.get(REGION_KEY) or "")

    @cached_property
    def shell_region(self) -> str:
        return next((os.environ[name] for name in REGION_VARIABLES if os.environ.get(name)), "")

    @property
    def region(self) -> str:
        return self.own_region or self.shell_region

    @cached_property
    def session(self) -> Any:
        import boto3

        if not self.account:
            raise SkippedError("AWS credentials come first")
        if not self.region:
            raise SkippedError("the region comes first")
        return boto3.Session(region_name=self.region)

    def regions(self) -> str:
        if not self.region:
            raise MissingError("neither the stack's config nor AWS_REGION names one", "export AWS_REGION=REGION")
        if not self.shell_region:
            raise WarningError(
                f"{self.region} by the stack's config; AWS_REGION is not set, by which Pulumi finds a state bucket",
                f"export AWS_REGION={self.region}",
            )
        if self.own_region not in ("", self.shell_region):
            raise WarningError(
                f"AWS_REGION is {self.shell_region}, and the stack's region is {self.own_region}",
                f"export AWS_REGION={self.own_region}",
            )
        return self.region

    def credentials(self) -> str:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            session = boto3.Session(region_name=self.region or "us-east-1")
            identity = client(session, "sts", fail_fast=True).get_caller_identity()
        except ClientError as error:
            raise MissingError(f"AWS refuses them: {error}", "aws sso login") from error
        except BotoCoreError as error:
            raise MissingError(update_error(str(error)), "aws configure sso") from error
        self.account = str(identity["Account"])
        return str(identity["Arn"])

    def image(self) -> str:
        found = newest_of(client(self.session, "ec2", fail_fast=True))
        if not found:
            raise MissingError(
                f"none named {IMAGE_NAMES} in {self.region}",
                "packer init ami/ && "
                f'packer build -var region={self.region} -var git_commit="$(git rev-parse HEAD)" ami/',
            )
        return f"{found['ImageId']}, {found['Name']}"

    def vcpus(self) -> str:
        kind = self.setting("instanceType")
        if kind[:1] not in STANDARD_FAMILIES:
            raise WarningError(f"{kind} counts for a quota of its own, which is not checked")
        sizes = sum(int(self.color(name).get("minSize", 1)) for name in ("blue", "green"))
        needed = sizes * self.vcpus_of(kind) + BUILDER_VCPUS
        quota = self.quota(VCPU_QUOTA)
        if quota < needed:
            raise MissingError(
                f"{quota:g} vCPUs, and both colors with {sizes} {kind} in all and Packer's builder need {needed}",
                self.raising(VCPU_QUOTA, needed),
            )
        return f"{quota:g} vCPUs, of which both colors and Packer's builder need {needed}"

    def addresses(self) -> str:
        mode = self.setting("natGateways")
        zones = len(self.listed("zones")) or int(self.setting("zoneCount"))
        needed = {"none": 0, "single": 1}.get(mode, zones)
        found = client(self.session, "ec2", fail_fast=True).describe_addresses()["Addresses"]
        own = [each for each in found if {"Key": "Stack", "Value": self.stack} in each.get("Tags", [])]
        quota, missing = self.quota(ADDRESS_QUOTA), max(0, needed - len(own))
        if quota < len(found) + missing:
            raise MissingError(
                f"{len(found)} of {quota:g} are in use, and NAT gateways need {missing} more",
                self.raising(ADDRESS_QUOTA, len(found) + missing),
            )
        return f"{len(found)} of {quota:g} are in use, NAT gateways need {missing} more"

    def quota(self, code: str) -> float:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            quotas = client(self.session, "service-quotas", fail_fast=True)
            return float(quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"])
        except (ClientError, BotoCoreError) as error:
            raise WarningError(
                f"could not be read: {error}",
                f"aws service-quotas get-service-quota --service-code ec2 --quota-code {code} --region {self.region}",
            ) from error

    def raising(self, code: str, value: int) -> str:
        return (
            f"aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {code} "
            f"--desired-value {value} --region {self.region}"
        )

    def vcpus_of(self, kind: str) -> int:
        found = client(self.session, "ec2", fail_fast=True).describe_instance_types(InstanceTypes=[kind])
        return int(found["InstanceTypes"][0]["VCpuInfo"]["DefaultVCpus"])

    def setting(self, key: str) -> str:
        """The value in the stack's config, else the default of Pulumi.yaml."""
        return str(self.config.get(f"{NAMESPACE}:{key}") or self.defaults[key])

    def listed(self, key: str) -> Sequence[Any]:
        found = self.config.get(f"{NAMESPACE}:{key}") or []
        return found if isinstance(found, list) else []

    def color(self, name: str) -> Mapping[str, Any]:
        found = self.config.get(f"{NAMESPACE}:{name}") or {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        import yaml

        declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
        return {key: each.get("default") for key, each in declared.items()}


def examine(stack: str) -> list[Finding]:
    """All checks; Pulumi's and AWS's run concurrently, as both wait for the network."""
    chains = PulumiChecks(stack).all(), AwsChecks(stack).all()
    with ThreadPoolExecutor(len(chains)) as pool:
        done = pool.map(lambda chain: [check.result() for check in chain], chains)
        return [finding for findings in done for finding in findings]


def lines(findings: Sequence[Finding]) -> list[str]:
    width = max(len(each.name) for each in findings)
    output = []
    for each in findings:
        first, *rest = each.found.splitlines() or [""]
        output.append(f"{each.state:<8} {each.name:<{width}}  {first}")
        output += [f"{'':<{9 + width}}  {line}" for line in rest]
        output += [f"{'':<{9 + width}}  type:  {each.type}"] if each.type else []
    return output


cli = app()


@cli.command()
def main(stack: StackOption = "", as_json: JsonOption = False) -> None:
    """Check workstation, AWS account and stack, and print the fix for each failure; exit code 1 then.

    Checked are the Pulumi CLI and its AWS plugin, the login to the state, the stack and whether this checkout's config
    is up to date with it, AWS region and credentials, the machine image, and the quotas of vCPUs and Elastic IPs where
    the account lets them be read. Nothing is changed. A warning stops no command now.
    """
    display = Display(as_json=as_json)
    with exit_codes(display):
        with display.working("checking"):
            findings = examine(stack)
        ok = not named(findings, CheckState.FAILED) and not named(findings, CheckState.SKIPPED)
        display.result({"ok": ok, "checks": [asdict(each) for each in findings]})
        for line in lines(findings):
            display.say(line)
        display.say(summary(findings))
    if not ok:
        raise typer.Exit(Exit.FAILED)


def summary(findings: Sequence[Finding]) -> str:
    failed, skipped = named(findings, CheckState.FAILED), named(findings, CheckState.SKIPPED)
    parts = [f"missing: {', '.join(failed)}"] if failed else []
    parts += [f"not checked: {', '.join(skipped)}"] if skipped else []
    return "; ".join(parts) or "nothing is missing"


def named(findings: Sequence[Finding], state: CheckState) -> list[str]:
    return [each.name for each in findings if each.state is state]


if __name__ == "__main__":
    cli()
