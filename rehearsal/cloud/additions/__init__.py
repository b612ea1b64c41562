"""What moto lacks, or answers unlike AWS: `extend_moto()` puts it into the moto of this process."""

from __future__ import annotations

from rehearsal.cloud.additions import (
    actions,
    activities,
    alarms,
    balancers,
    consoles,
    events,
    groups,
    hooks,
    images,
    internet_gateways,
    launch_templates,
    metrics,
    names,
    nat_gateways,
    notifications,
    object_versions,
    policies,
    reboots,
    registries,
    scaling_policies,
    security_groups,
    target_health,
    vpn,
)
from rehearsal.cloud.additions.gap import Facts, Gap

PARTS = (
    actions,
    activities,
    alarms,
    groups,
    hooks,
    images,
    internet_gateways,
    launch_templates,
    metrics,
    names,
    nat_gateways,
    notifications,
    object_versions,
    policies,
    reboots,
    scaling_policies,
    security_groups,
    target_health,
    vpn,
)

GAPS: list[Gap] = [gap for part in (*PARTS, balancers, consoles, events, registries) for gap in part.GAPS]


def extend_moto(facts: Facts) -> None:
    for part in PARTS:
        part.extend()
    balancers.extend(facts)
    consoles.extend(facts)
    registries.extend(facts)
