"""A dashboard that shows both colors side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch

from checks.colors import Color
from components.alarm_options import AlarmOptions
from components.dashboard_body import Shown, render


@dataclass(frozen=True, kw_only=True)
class DashboardArgs:
    """`balancer` and `target_groups` are the ends of their ARNs; `alarms` are ARNs; an empty release is none."""

    stack: str
    region: str
    options: AlarmOptions
    releases: Mapping[Color, str]
    balancer: pulumi.Input[str]
    target_groups: Mapping[Color, pulumi.Input[str]]
    alarms: Sequence[pulumi.Input[str]]


class Dashboard(pulumi.ComponentResource):
    """Output: `name`, in the account's list of dashboards."""

    name: pulumi.Output[str]

    def __init__(self, name: str, args: DashboardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:observability:Dashboard", name, {}, opts)
        made = cloudwatch.Dashboard(
            name,
            # Dashboards of all regions share one list; putting one under a taken name does no harm.
            dashboard_name=f"bluegreen-{args.stack}-{args.region}",
            dashboard_body=_body(args),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name = made.dashboard_name
        self.register_outputs({"name": self.name})


def _body(args: DashboardArgs) -> pulumi.Output[str]:
    groups = [args.target_groups[color] for color in Color]

    def rendered(known: Sequence[str]) -> str:
        balancer, *rest = known
        return render(
            Shown(
                stack=args.stack,
                region=args.region,
                options=args.options,
                releases=args.releases,
                balancer=balancer,
                target_groups=dict(zip(Color, rest[: len(groups)], strict=True)),
                alarms=rest[len(groups) :],
            )
        )

    return pulumi.Output.all(args.balancer, *groups, *args.alarms).apply(rendered)
