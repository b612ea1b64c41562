"""Status of a stack: release, AMI, ASG, target group and traffic of each color, the lock, and the history."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from ami.boot.messages import ChangeRecord, content
from config.alerts import without_subscribers
from fleet.colors import Color
from fleet.command_lines import bluegreen
from fleet.state import ColorState, Fleet, NoSuchStack
from scripts.cli.display import Display, exit_codes, update_error
from scripts.cli.exits import ScriptError
from scripts.cli.options import JsonOption, StackOption, app
from scripts.rollout.direct_rollback import facts_of, find, region_of
from scripts.rollout.traffic import Unreconciled, unreconciled
from scripts.stack import history
from scripts.stack.automation import (
    ROOT,
    BrokenPulumiError,
    NoPulumiError,
    Stack,
    StackFacts,
    open_stack,
    read_facts,
    selected_stack_on_disk,
)
from scripts.stack.config_change import parsed, problem
from scripts.stack.drift import report as report_drift
from scripts.stack.lock import Holder, holder


@dataclass(frozen=True, kw_only=True)
class StackStatus:
    """State and history of a stack."""

    facts: StackFacts
    fleet: Fleet
    holder: Holder | None
    records: list[ChangeRecord]
    without_pulumi: str = ""
    """Why Pulumi could not be read; the status is of AWS alone then."""

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.facts.stack,
            "url": self.facts.url,
            "active_color": self.facts.active,
            "serving": self.fleet.serving,
            "colors": {color: self.color(color) for color in Color if color in self.fleet.colors},
            "lock": {**asdict(self.holder), "left": self.left} if self.holder else None,
            "unreconciled": str(self.unreconciled) if self.unreconciled else None,
            "config_problem": self.config_problem or None,
            "no_subscribers": self.no_subscribers or None,
            "without_pulumi": self.without_pulumi or None,
            "history": [content(record) for record in self.records],
        }

    @property
    def config_problem(self) -> str:
        """Why the program would refuse this checkout's config, or nothing."""
        return "" if self.without_pulumi else problem(self.facts.stack, self.facts.config)

    @property
    def no_subscribers(self) -> str:
        """A warning where nobody subscribes to this stack's alerts, or nothing."""
        if self.without_pulumi or self.config_problem:
            return ""  # config is not known then
        settings = parsed(self.facts.stack, self.facts.config)
        return without_subscribers(self.facts.stack) if settings.lacks_subscribers else ""

    @property
    def unreconciled(self) -> Unreconciled | None:
        """A traffic shift without Pulumi, which its state does not have yet."""
        return None if self.without_pulumi else unreconciled(self.facts, self.fleet, self.records)

    @property
    def left(self) -> str:
        """What the lock's holder left if its process has ended, which is known for this host's only."""
        if not self.holder or self.holder.is_gone is False:
            return ""
        known = "that process is gone, it" if self.holder.is_gone else "if that process is dead, it"
        stage = self.holder.stage.partition(":")[0]
        traffic = f"traffic is on {self.fleet.serving}" if self.fleet.serving else "no release is live"
        consequences = {
            "bake": f"{traffic}, and its bake never ended: whether that release is good is not known",
            "smoke test": f"{traffic}, and the public endpoint was not checked",
            "production traffic shift": f"{traffic}, and config may say otherwise",
        }
        again = ""
        if self.holder.action == "cutover" and stage in consequences:
            # The shift's stage names its colors; after it config does.
            _, to, target = self.holder.stage.rpartition(" to ")
            resume = bluegreen("cutover", target if to else self.facts.active, "--resume", stack=self.facts.stack)
            again = f"{resume} on that host continues from there, also where Pulumi's own lock was left; "
        return (
            f"{known} left no record; {consequences.get(stage, traffic)}: {again}"
            f"{bluegreen('smoke-test', stack=self.facts.stack)} "
            "checks the public endpoint, and the next change must say --break-lock"
        )

    def color(self, color: Color) -> dict[str, Any]:
        side = self.fleet.colors[color]
        return {
            "release": side.release,
            "configured": self.facts.colors[color].version,
            "ami": side.group.ami if side.group else "",
            "asg": side.group.name if side.group else "",
            "target_group": side.target_group_arn,
            "healthy": side.healthy,
            "launches_stopped": any(group.is_stopped for group in side.groups),
            "instances": sum(len(group.instances) for group in side.groups),
            "weight": side.weight,
        }


def read_status(stack: Stack, newest: int) -> StackStatus:
    facts = read_facts(stack)
    with ThreadPoolExecutor(3) as pool:
        s3 = facts.s3
        fleet = pool.submit(facts.fleet)
        records = pool.submit(history.read, s3, facts.bucket, stack.name, newest)
        held = pool.submit(holder, s3, facts.bucket, stack.name)
        return StackStatus(facts=facts, fleet=fleet.result(), records=records.result(), holder=held.result())


def read_without_pulumi(name: str, newest: int, why: str) -> StackStatus:
    """Status from AWS alone, by the stack's tags as for a direct rollback."""
    name = name or selected_stack_on_disk()
    fleet, session = find(name, region_of(name, "", ROOT / f"Pulumi.{name}.yaml"))
    facts = facts_of(fleet, session)
    at = facts.s3, facts.bucket, name
    return StackStatus(
        facts=facts,
        fleet=fleet,
        records=history.read(*at, newest) if facts.bucket else [],
        holder=holder(*at) if facts.bucket else None,
        without_pulumi=why,
    )


def read_with_fallback(name: str, newest: int) -> StackStatus:
    """Status from Pulumi and AWS, or from AWS alone where Pulumi fails. Raises Pulumi's error without any result."""
    from pulumi.automation.errors import CommandError

    try:
        return read_status(open_stack(name), newest)
    except (CommandError, NoPulumiError, BrokenPulumiError) as error:
        with suppress(ScriptError, NoSuchStack):
            return read_without_pulumi(name, newest, update_error(str(error)))
        raise


def show(display: Display, status: StackStatus) -> None:
    rows = [_row(status, side) for side in status.fleet.colors.values()]
    columns = ("color", "traffic", "release", "healthy", "AMI", "ASG", "target group")
    display.table(f"{status.facts.stack}  {status.facts.url}", columns, rows)
    rows = [
        (
            one.time[:19],
            one.who,
            one.kind,
            f"{one.source} → {one.target}",
            f"{one.seconds:.1f} s",
            one.outcome,
            _reason(one),
        )
        for one in status.records
    ]
    if rows:
        display.table("history", ("when (UTC)", "who", "what", "from → to", "took", "outcome", "why"), rows)
    if status.holder:
        display.say(f"locked by {status.holder}")
    if status.left:
        display.say(status.left)
    if status.unreconciled:
        display.say(str(status.unreconciled))
    if status.without_pulumi:
        display.say(f"Pulumi could not be read, this is from AWS alone: {status.without_pulumi}")
    if status.no_subscribers:
        display.say(status.no_subscribers)
    if status.config_problem:
        display.say(status.config_problem)


def _reason(record: ChangeRecord) -> str:
    """The record's reason, and whose lock was broken for it."""
    broken = f"broke the lock of {record.lock_broken}" if record.lock_broken else ""
    return "; ".join(each for each in (record.reason, broken) if each)


def _row(status: StackStatus, side: ColorState) -> tuple[str, ...]:
    details = status.color(side.color)
    release = details["release"] or "off"
    if details["configured"] != details["release"]:
        release += f" (config: {details['configured'] or 'off'})"
    name = side.target_group_arn.split(":")[-1].split("/")[1] if "/" in side.target_group_arn else ""
    healthy = f"{details['healthy']} of {details['instances']}" + (
        ", launches stopped" if details["launches_stopped"] else ""
    )
    return (side.color, f"{side.weight} %", release, healthy, details["ami"] or "-", details["asg"] or "-", name)


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    newest: Annotated[int, typer.Option("--history", min=0, help="How many past changes to show.")] = 10,
    drift: Annotated[
        bool,
        typer.Option("--drift", help="Show drift instead: manual changes in AWS; exit code 7 if there is any."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show both colors as AWS has them now, the stack's lock, and its history, the newest first."""
    display = Display(as_json=as_json)
    with exit_codes(display):
        if drift:
            report_drift(open_stack(stack), display)
            return
        status = read_with_fallback(stack, newest)
        display.result(status.as_json())
        if not as_json:
            show(display, status)


if __name__ == "__main__":
    cli()
