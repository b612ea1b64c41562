"""Additions to moto: what it lacks or does unlike AWS. `extend_moto()` patches the moto of this process."""

from __future__ import annotations

from rehearsal.cloud.additions import (
    actions,
    activities,
    alarms,
    console_output,
    events,
    groups,
    images,
    internet_gateways,
    launch_templates,
    lifecycle_hooks,
    load_balancers,
    metrics,
    name_rules,
    nat_gateways,
    object_versions,
    policies,
    reboots,
    registries,
    scaling_policies,
    security_groups,
    sns,
    target_health,
    vpn,
)
from rehearsal.cloud.additions.gap import EmulatorContext, Gap

PARTS = (
    actions,
    activities,
    alarms,
    groups,
    lifecycle_hooks,
    images,
    internet_gateways,
    launch_templates,
    metrics,
    name_rules,
    nat_gateways,
    sns,
    object_versions,
    policies,
    reboots,
    scaling_policies,
    security_groups,
    target_health,
    vpn,
)

GAPS: list[Gap] = [gap for part in (*PARTS, load_balancers, console_output, events, registries) for gap in part.GAPS]


def extend_moto(context: EmulatorContext) -> None:
    for part in PARTS:
        part.extend()
    load_balancers.extend(context)
    console_output.extend(context)
    registries.extend(context)
