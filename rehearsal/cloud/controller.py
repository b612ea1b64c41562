"""The controller: machines follow the groups' members, members move through their lifecycle, targets follow them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rehearsal.cloud import account, instance_rows
from rehearsal.cloud.additions import activities, groups, reboots, target_health
from rehearsal.cloud.additions.actions import LOCK
from rehearsal.cloud.additions.members import Lifecycle, Member, Transition
from rehearsal.cloud.instances import Machine, Machines, Phase
from rehearsal.cloud.load_balancer_emulators import Door

TICK_S = 0.05
REMOVABLE = (Phase.RUNNING, Phase.ENDED, Phase.FAILED)
BACK_OFF_S = 2.0  # after a launch that failed: a broken image or release must not take the whole machine's time

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Images:
    """Which container image stands for which AMI; `default` for those that nobody named."""

    default: str
    by_ami: dict[str, str] = field(default_factory=dict)

    def of(self, ami: str) -> str:
        return self.by_ami.get(ami, self.default)


class Controller:
    """Looks twenty times a second, in a thread of its own, from `start` until `close`."""

    def __init__(self, *, machines: Machines, door: Door, images: Images, answer_hooks: bool) -> None:
        self._machines, self._door, self._images = machines, door, images
        self._answer_hooks = answer_hooks
        self._gone: list[dict[str, Any]] = []
        self._trouble = ""
        self._not_before: dict[str, float] = {}
        self._drains: set[target_health.Key] = set()
        self._hands = ThreadPoolExecutor(8, "drains")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._steps: Mapping[Lifecycle, Callable[[Member], None]] = {
            Lifecycle.PENDING: self._pending,
            Lifecycle.PENDING_WAIT: self._pending_wait,
            Lifecycle.IN_SERVICE: self._in_service,
            Lifecycle.TERMINATING: self._terminating,
            Lifecycle.TERMINATING_WAIT: self._terminating_wait,
            Lifecycle.TERMINATING_PROCEED: self._terminating_proceed,
        }

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._hands.shutdown(wait=False, cancel_futures=True)
        self._door.close()
        self._machines.close()

    def state(self) -> dict[str, Any]:
        with LOCK:
            present = [member for group in account.groups() for member in groups.members(group)]
            rows = [
                instance_rows.row(member, self._machines, self._images.of(member.instance.image_id))
                for member in present
            ]
        images = dict(self._images.by_ami)
        return {"instances": rows, "gone": list(self._gone), "images": images, "trouble": self._trouble}

    def look_at_boots(self) -> None:
        self._machines.look_now()

    def refresh_boots(self, instances: Sequence[str]) -> None:
        """Without waiting for it."""
        for instance in instances:
            self._machines.look(instance)

    def _run(self) -> None:
        while not self._stopped.wait(TICK_S):
            try:
                self.tick()
                self._trouble = ""
            except Exception as error:
                # One odd moment must not stop everything that follows; who asks for the state sees it.
                log.exception("tick failed")
                self._trouble = f"{type(error).__name__}: {error}"

    def tick(self) -> None:
        with LOCK:
            for group in account.groups():
                for member in groups.members(group):
                    self._step(member)
                self._fill(group)
            self._drop_strays()
            self._reboot_those_asked()
            self._door.see(account.balancer_backends())
            leaving = self._leaving()
        for target_group, target in leaving:
            self._hands.submit(self._drain, target_group, target)
        target_health.LEDGER.write(self._door.follow())

    def _step(self, member: Member) -> None:
        state = Lifecycle(member.lifecycle_state)
        if self._machines.phase(member.instance_id) is Phase.ENDED and state.counts:
            self._shut_down(member, state)
        else:
            self._steps.get(state, _stay)(member)

    def _shut_down(self, member: Member, state: Lifecycle) -> None:
        """Its own doing. No grace period counts: that is for instances that run."""
        groups.power_off(member)
        if state is not Lifecycle.IN_SERVICE:
            self._give_up(member, f"{activities.NEVER_HEALTHY} Termination Reason: {groups.SHUT_DOWN}")
        elif not _unwatched(member):
            member.health_status, member.cause = "Unhealthy", activities.STOPPED

    def _pending(self, member: Member) -> None:
        if self._has_machine(member):
            groups.put_in_service(member)

    def _pending_wait(self, member: Member) -> None:
        ready = self._has_machine(member)
        outcome = "CONTINUE" if self._answer_hooks and ready else member.outcome()
        if outcome == "CONTINUE":
            self._machines.look(member.instance_id)
            groups.put_in_service(member)
        elif outcome == "ABANDON":
            self._give_up(member, member.abandoned())

    def _in_service(self, member: Member) -> None:
        if self._has_machine(member) and _unhealthy_by_elb(member):
            member.health_status = "Unhealthy"
            member.cause = activities.UNHEALTHY_BY_ELB

    def _terminating(self, member: Member) -> None:
        attached = groups.target_groups(member.auto_scaling_group)
        if any(member.instance_id in target_health.draining(target_group) for target_group in attached):
            return
        held = member.hold(Transition.TERMINATING)
        member.move(Lifecycle.TERMINATING_WAIT if held else Lifecycle.TERMINATING_PROCEED)

    def _terminating_wait(self, member: Member) -> None:
        if self._answer_hooks or member.outcome():
            member.move(Lifecycle.TERMINATING_PROCEED)

    def _terminating_proceed(self, member: Member) -> None:
        phase = self._machines.phase(member.instance_id)
        if phase is Phase.ABSENT:
            groups.forget(member)
            self._gone.append(instance_rows.row(member, self._machines, self._images.of(member.instance.image_id)))
        elif phase in REMOVABLE:
            self._machines.remove(member.instance_id)

    def _has_machine(self, member: Member) -> bool:
        """Whether the member's machine runs; one that was never started is started now."""
        phase = self._machines.phase(member.instance_id)
        if phase is Phase.ABSENT:
            instance = member.instance
            image = self._images.of(instance.image_id)
            self._machines.start(Machine(instance=instance.id, address=str(instance.private_ip), image=image))
        elif phase is Phase.FAILED and member.lifecycle_state == Lifecycle.IN_SERVICE:
            member.health_status, member.cause = "Unhealthy", activities.STOPPED
        elif phase is Phase.FAILED:
            self._give_up(member, activities.NOT_STARTED)
        return phase is Phase.RUNNING

    def _give_up(self, member: Member, message: str) -> None:
        self._not_before[member.auto_scaling_group.name] = time.monotonic() + BACK_OFF_S
        groups.give_up(member, message)

    def _fill(self, group: Any) -> None:
        """Brings the group to its desired capacity with healthy members."""
        active = group.active_instances()
        kept = "ReplaceUnhealthy" in group._suspended_processes
        unhealthy = [member for member in active if member.health_status != "Healthy" and not kept]
        desired = int(group.desired_capacity or 0)
        lacking = desired - (len(active) - len(unhealthy))
        may = lacking > 0 and time.monotonic() >= self._not_before.get(group.name, 0)
        if may and not groups.launch(group, lacking, activities.REPLACED if unhealthy else activities.NEEDED):
            self._not_before[group.name] = time.monotonic() + BACK_OFF_S
        serving = [m for m in active if m not in unhealthy and m.lifecycle_state == Lifecycle.IN_SERVICE]
        if not groups.replacements_first(group) or len(serving) >= desired:
            for member in unhealthy:
                if member.lifecycle_state == Lifecycle.IN_SERVICE:
                    groups.dismiss(member, member.cause or activities.UNHEALTHY_BY_USER)
                else:
                    self._give_up(member, activities.NEVER_HEALTHY)

    def _drop_strays(self) -> None:
        """Machines whose instance was terminated behind its group's back, as `ec2 terminate-instances` does."""
        members = {member.instance_id for group in account.groups() for member in groups.members(group)}
        for instance in self._machines.instances() - members:
            if self._machines.phase(instance) in REMOVABLE:
                self._machines.remove(instance)

    def _reboot_those_asked(self) -> None:
        while reboots.ASKED:
            self._machines.reboot(reboots.ASKED.popleft())

    def _leaving(self) -> list[tuple[Any, str]]:
        """Targets that began to drain since the last look."""
        found = [
            (target_group, target)
            for backend in account.balancer_backends()
            for target_group in backend.target_groups.values()
            for target in target_health.draining(target_group)
            if (target_group.arn, target) not in self._drains
        ]
        self._drains.update((target_group.arn, target) for target_group, target in found)
        return found

    def _drain(self, target_group: Any, target: str) -> None:
        try:
            self._door.drain(target_group, target)
        except Exception:
            log.exception("drain failed target_group=%s target=%s", target_group.name, target)
        finally:
            with LOCK:
                target_health.drained(target_group, target)
                self._drains.discard((target_group.arn, target))


def _stay(member: Member) -> None:
    """Members on standby stay as they are until somebody calls them back."""


def _unwatched(member: Member) -> bool:
    return "HealthCheck" in member.auto_scaling_group._suspended_processes


def _unhealthy_by_elb(member: Member) -> bool:
    group = member.auto_scaling_group
    if "ELB" not in str(group.health_check_type) or _unwatched(member):
        return False
    if time.monotonic() - member.since < int(group.health_check_grace_period or 0):
        return False
    readings = [target_health.LEDGER.read(tg.arn, member.instance_id) for tg in groups.target_groups(group)]
    return any(reading.state == "unhealthy" for reading in readings)
