"""Controller of instances: starts and removes containers, advances lifecycle states, drains targets."""

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
from rehearsal.cloud.additions.members import LifecycleState, Member, Transition
from rehearsal.cloud.instances import InstancePhase, Instances, InstanceSpec
from rehearsal.cloud.load_balancer_emulators import LoadBalancerControl

TICK_S = 0.05
REMOVABLE = (InstancePhase.RUNNING, InstancePhase.POWERED_OFF, InstancePhase.FAILED)
LAUNCH_BACKOFF_S = 2.0  # after a failed launch: a broken image or release must not use up the host's CPU

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class ImageMap:
    """Container images by AMI; `default` for AMIs that were not registered."""

    default: str
    by_ami: dict[str, str] = field(default_factory=dict)

    def image_for(self, ami: str) -> str:
        return self.by_ami.get(ami, self.default)


class Controller:
    """Runs every TICK_S in a thread of its own, from `start` until `close`."""

    def __init__(
        self, *, instances: Instances, load_balancer: LoadBalancerControl, images: ImageMap, answer_hooks: bool
    ) -> None:
        self._instances, self._load_balancer, self._images = instances, load_balancer, images
        self._answer_hooks = answer_hooks
        self._terminated: list[dict[str, Any]] = []
        self._last_error = ""
        self._launch_after: dict[str, float] = {}
        self._drains: set[target_health.Key] = set()
        self._drain_pool = ThreadPoolExecutor(8, "drains")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._steps: Mapping[LifecycleState, Callable[[Member], None]] = {
            LifecycleState.PENDING: self._pending,
            LifecycleState.PENDING_WAIT: self._pending_wait,
            LifecycleState.IN_SERVICE: self._in_service,
            LifecycleState.TERMINATING: self._terminating,
            LifecycleState.TERMINATING_WAIT: self._terminating_wait,
            LifecycleState.TERMINATING_PROCEED: self._terminating_proceed,
        }

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._drain_pool.shutdown(wait=False, cancel_futures=True)
        self._load_balancer.close()
        self._instances.close()

    def state(self) -> dict[str, Any]:
        with LOCK:
            present = [member for group in account.groups() for member in groups.members(group)]
            rows = [
                instance_rows.row(member, self._instances, self._images.image_for(member.instance.image_id))
                for member in present
            ]
        images = dict(self._images.by_ami)
        return {
            "instances": rows,
            "terminated": list(self._terminated),
            "images": images,
            "last_error": self._last_error,
        }

    def refresh_all_boot_records(self) -> None:
        self._instances.refresh_all_boot_records()

    def refresh_boot_records(self, instance_ids: Sequence[str]) -> None:
        """Returns at once, before they are read."""
        for instance_id in instance_ids:
            self._instances.refresh_boot_record(instance_id)

    def _run(self) -> None:
        while not self._stopped.wait(TICK_S):
            try:
                self.tick()
                self._last_error = ""
            except Exception as error:
                # One failed tick must not stop the controller; `state` reports the error.
                log.exception("tick failed")
                self._last_error = f"{type(error).__name__}: {error}"

    def tick(self) -> None:
        with LOCK:
            for group in account.groups():
                for member in groups.members(group):
                    self._step(member)
                self._fill(group)
            self._remove_orphans()
            self._reboot_requested()
            self._load_balancer.snapshot(account.load_balancer_backends())
            draining = self._newly_draining()
        for target_group, target in draining:
            self._drain_pool.submit(self._drain, target_group, target)
        target_health.TARGET_HEALTH.write(self._load_balancer.sync())

    def _step(self, member: Member) -> None:
        state = LifecycleState(member.lifecycle_state)
        if self._instances.phase(member.instance_id) is InstancePhase.POWERED_OFF and state.is_active:
            self._shut_down(member, state)
        else:
            self._steps.get(state, _wait)(member)

    def _shut_down(self, member: Member, state: LifecycleState) -> None:
        """By the instance itself. No grace period applies: that is for instances that run."""
        groups.power_off(member)
        if state is not LifecycleState.IN_SERVICE:
            self._abandon_launch(member, f"{activities.NEVER_HEALTHY} Termination Reason: {groups.SHUT_DOWN}")
        elif not _health_checks_suspended(member):
            member.health_status, member.cause = "Unhealthy", activities.STOPPED

    def _pending(self, member: Member) -> None:
        if self._ensure_running(member):
            groups.put_in_service(member)

    def _pending_wait(self, member: Member) -> None:
        ready = self._ensure_running(member)
        outcome = "CONTINUE" if self._answer_hooks and ready else member.outcome()
        if outcome == "CONTINUE":
            self._instances.refresh_boot_record(member.instance_id)
            groups.put_in_service(member)
        elif outcome == "ABANDON":
            self._abandon_launch(member, member.abandoned_message())

    def _in_service(self, member: Member) -> None:
        if self._ensure_running(member) and _unhealthy_by_elb(member):
            member.health_status = "Unhealthy"
            member.cause = activities.UNHEALTHY_BY_ELB

    def _terminating(self, member: Member) -> None:
        attached = groups.target_groups(member.auto_scaling_group)
        if any(member.instance_id in target_health.draining(target_group) for target_group in attached):
            return
        held = member.wait_for_hooks(Transition.TERMINATING)
        member.move(LifecycleState.TERMINATING_WAIT if held else LifecycleState.TERMINATING_PROCEED)

    def _terminating_wait(self, member: Member) -> None:
        if self._answer_hooks or member.outcome():
            member.move(LifecycleState.TERMINATING_PROCEED)

    def _terminating_proceed(self, member: Member) -> None:
        phase = self._instances.phase(member.instance_id)
        if phase is InstancePhase.ABSENT:
            groups.remove(member)
            self._terminated.append(
                instance_rows.row(member, self._instances, self._images.image_for(member.instance.image_id))
            )
        elif phase in REMOVABLE:
            self._instances.remove(member.instance_id)

    def _ensure_running(self, member: Member) -> bool:
        """Whether the member's container runs; starts it if it was never started."""
        phase = self._instances.phase(member.instance_id)
        if phase is InstancePhase.ABSENT:
            instance = member.instance
            image = self._images.image_for(instance.image_id)
            self._instances.start(InstanceSpec(instance_id=instance.id, address=str(instance.private_ip), image=image))
        elif phase is InstancePhase.FAILED and member.lifecycle_state == LifecycleState.IN_SERVICE:
            member.health_status, member.cause = "Unhealthy", activities.STOPPED
        elif phase is InstancePhase.FAILED:
            self._abandon_launch(member, activities.NOT_STARTED)
        return phase is InstancePhase.RUNNING

    def _abandon_launch(self, member: Member, message: str) -> None:
        self._launch_after[member.auto_scaling_group.name] = time.monotonic() + LAUNCH_BACKOFF_S
        groups.abandon_launch(member, message)

    def _fill(self, group: Any) -> None:
        """Launches what is missing to the desired capacity, and terminates unhealthy members."""
        active = group.active_instances()
        suspended = "ReplaceUnhealthy" in group._suspended_processes
        unhealthy = [member for member in active if member.health_status != "Healthy" and not suspended]
        desired = int(group.desired_capacity or 0)
        missing = desired - (len(active) - len(unhealthy))
        due = missing > 0 and time.monotonic() >= self._launch_after.get(group.name, 0)
        if due and not groups.launch(group, missing, activities.REPLACED if unhealthy else activities.NEEDED):
            self._launch_after[group.name] = time.monotonic() + LAUNCH_BACKOFF_S
        serving = [m for m in active if m not in unhealthy and m.lifecycle_state == LifecycleState.IN_SERVICE]
        if not groups.launches_before_terminating(group) or len(serving) >= desired:
            for member in unhealthy:
                if member.lifecycle_state == LifecycleState.IN_SERVICE:
                    groups.terminate(member, member.cause or activities.UNHEALTHY_BY_USER)
                else:
                    self._abandon_launch(member, activities.NEVER_HEALTHY)

    def _remove_orphans(self) -> None:
        """Containers of instances that were terminated outside their group, as by `ec2 terminate-instances`."""
        members = {member.instance_id for group in account.groups() for member in groups.members(group)}
        for instance_id in self._instances.ids() - members:
            if self._instances.phase(instance_id) in REMOVABLE:
                self._instances.remove(instance_id)

    def _reboot_requested(self) -> None:
        while reboots.REQUESTED_REBOOTS:
            self._instances.reboot(reboots.REQUESTED_REBOOTS.popleft())

    def _newly_draining(self) -> list[tuple[Any, str]]:
        """Targets that began to drain since the last tick."""
        targets = [
            (target_group, target)
            for backend in account.load_balancer_backends()
            for target_group in backend.target_groups.values()
            for target in target_health.draining(target_group)
            if (target_group.arn, target) not in self._drains
        ]
        self._drains.update((target_group.arn, target) for target_group, target in targets)
        return targets

    def _drain(self, target_group: Any, target: str) -> None:
        try:
            self._load_balancer.drain(target_group, target)
        except Exception:
            log.exception("drain failed target_group=%s target=%s", target_group.name, target)
        finally:
            with LOCK:
                target_health.drained(target_group, target)
                self._drains.discard((target_group.arn, target))


def _wait(member: Member) -> None:
    """Members on standby stay as they are until they are called back."""


def _health_checks_suspended(member: Member) -> bool:
    return "HealthCheck" in member.auto_scaling_group._suspended_processes


def _unhealthy_by_elb(member: Member) -> bool:
    group = member.auto_scaling_group
    if "ELB" not in str(group.health_check_type) or _health_checks_suspended(member):
        return False
    if time.monotonic() - member.since < int(group.health_check_grace_period or 0):
        return False
    healths = [target_health.TARGET_HEALTH.read(tg.arn, member.instance_id) for tg in groups.target_groups(group)]
    return any(health.state == "unhealthy" for health in healths)
