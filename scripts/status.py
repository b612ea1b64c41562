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
class Status:
    """A stack as it is, and how it came to be so."""

    facts: StackFacts
    fleet: Fleet
    holder: Holder | None
    records: list[ChangeRecord]
    without_pulumi: str = ""
    """Why Pulumi could not be asked; AWS alone was, then."""

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
            "nobody_notified": self.nobody_notified or None,
            "without_pulumi": self.without_pulumi or None,
            "history": [content(record) for record in self.records],
        }

    @property
    def config_problem(self) -> str:
        """Why the program would refuse this checkout's config, or nothing."""
        return "" if self.without_pulumi else problem(self.facts.stack, self.facts.config)

    @property
    def nobody_notified(self) -> str:
        """A warning where no address gets this stack's alerts, or nothing."""
        if self.without_pulumi or self.config_problem:
            return ""  # config is not known then
        settings = parsed(self.facts.stack, self.facts.config)
        return without_subscribers(self.facts.stack) if settings.lacks_subscribers else ""

    @property
    def unreconciled(self) -> Unreconciled | None:
        """Users that were moved without Pulumi, which its state does not know yet."""
        return None if self.without_pulumi else unreconciled(self.facts, self.fleet, self.records)

    @property
    def left(self) -> str:
        """What the lock's holder leaves behind if its process has ended, which is known of this host's only."""
        if not self.holder or self.holder.is_gone is False:
            return ""
        known = "that process is gone, it" if self.holder.is_gone else "if that process is dead, it"
        stage = self.holder.stage.partition(":")[0]
        users = f"traffic is on {self.fleet.serving}" if self.fleet.serving else "no release is live"
        told = {
            "bake": f"{users}, and its bake never ended: whether that release is good is not known",
            "smoke test": f"{users}, and what users get was not checked",
            "production traffic shift": f"{users}, and config may say otherwise",
        }
        again = ""
        if self.holder.action == "cutover" and stage in told:
            # The shift's stage names its colors; after it config does.
            _, to, target = self.holder.stage.rpartition(" to ")
            resume = bluegreen("cutover", target if to else self.facts.active, "--resume", stack=self.facts.stack)
            again = f"{resume} on that host goes on from there, also where Pulumi's own lock was left; "
        return (
            f"{known} left no record; {told.get(stage, users)}: {again}"
            f"{bluegreen('smoke-test', stack=self.facts.stack)} "
            "checks what users get, and the next change must say --break-lock"
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


def read_status(stack: Stack, newest: int) -> Status:
    facts = read_facts(stack)
    with ThreadPoolExecutor(3) as pool:
        s3 = facts.s3
        fleet = pool.submit(facts.fleet)
        records = pool.submit(history.read, s3, facts.bucket, stack.name, newest)
        held = pool.submit(holder, s3, facts.bucket, stack.name)
        return Status(facts=facts, fleet=fleet.result(), records=records.result(), holder=held.result())


def read_without_pulumi(name: str, newest: int, why: str) -> Status:
    """What AWS alone knows, found by the stack's tags as a direct rollback does."""
    name = name or selected_stack_on_disk()
    fleet, session = find(name, region_of(name, "", ROOT / f"Pulumi.{name}.yaml"))
    facts = facts_of(fleet, session)
    at = facts.s3, facts.bucket, name
    return Status(
        facts=facts,
        fleet=fleet,
        records=history.read(*at, newest) if facts.bucket else [],
        holder=holder(*at) if facts.bucket else None,
        without_pulumi=why,
    )


def read_anyhow(name: str, newest: int) -> Status:
    """By Pulumi and AWS; where Pulumi is broken by AWS alone. Raises Pulumi's error when neither knows the stack."""
    from pulumi.automation.errors import CommandError

    try:
        return read_status(open_stack(name), newest)
    except (CommandError, NoPulumiError, BrokenPulumiError) as error:
        with suppress(ScriptError, NoSuchStack):
            return read_without_pulumi(name, newest, update_error(str(error)))
        raise


def show(display: Display, status: Status) -> None:
    rows = [_row(status, side) for side in status.fleet.colors.values()]
    columns = ("color", "traffic", "release", "healthy", "AMI", "ASG", "target group")
    display.table(f"{status.facts.stack}  {status.facts.url}", columns, rows)
    told = [
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
    if told:
        display.table("history", ("when (UTC)", "who", "what", "from → to", "took", "outcome", "why"), told)
    if status.holder:
        display.say(f"locked by {status.holder}")
    if status.left:
        display.say(status.left)
    if status.unreconciled:
        display.say(str(status.unreconciled))
    if status.without_pulumi:
        display.say(f"Pulumi could not be asked, this is what AWS has: {status.without_pulumi}")
    if status.nobody_notified:
        display.say(status.nobody_notified)
    if status.config_problem:
        display.say(status.config_problem)


def _reason(record: ChangeRecord) -> str:
    """Why it was done or undone; a broken lock is the one trace of whoever held it."""
    broken = f"broke the lock of {record.lock_broken}" if record.lock_broken else ""
    return "; ".join(each for each in (record.reason, broken) if each)


def _row(status: Status, side: ColorState) -> tuple[str, ...]:
    told = status.color(side.color)
    release = told["release"] or "off"
    if told["configured"] != told["release"]:
        release += f" (config: {told['configured'] or 'off'})"
    name = side.target_group_arn.split(":")[-1].split("/")[1] if "/" in side.target_group_arn else ""
    healthy = f"{told['healthy']} of {told['instances']}" + (", launches stopped" if told["launches_stopped"] else "")
    return (side.color, f"{side.weight} %", release, healthy, told["ami"] or "-", told["asg"] or "-", name)


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    newest: Annotated[int, typer.Option("--history", min=0, help="How many past changes to show.")] = 10,
    drift: Annotated[
        bool,
        typer.Option(
            "--drift", help="Show instead what was changed by hand in the cloud; exit code 7 if anything was."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show both colors as AWS has them now, the stack's lock, and its history, the newest first."""
    display = Display(as_json=as_json)
    with exit_codes(display):
        if drift:
            report_drift(open_stack(stack), display)
            return
        status = read_anyhow(stack, newest)
        display.result(status.as_json())
        if not as_json:
            show(display, status)


if __name__ == "__main__":
    cli()
