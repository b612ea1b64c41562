"""A dashboard that shows both colors side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_aws import cloudwatch

from components.dashboard_body import Shown, render
from config.alerts import AlarmSettings
from config.colors import ColorSettings
from config.context import StackContext
from fleet.colors import Color


class Dashboard(pulumi.ComponentResource):
    """`balancer` and `target_groups` are the ends of their ARNs; `alarms` are ARNs.

    Output: `name`, in the account's list of dashboards.
    """

    name: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: AlarmSettings,
        colors: Mapping[Color, ColorSettings],
        *,
        balancer: pulumi.Input[str],
        target_groups: Mapping[Color, pulumi.Input[str]],
        alarms: Sequence[pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:Dashboard", name, {}, opts)

        def body(known: Sequence[str]) -> str:
            suffix, *rest = known
            return render(
                Shown(
                    stack=context.stack,
                    region=context.region,
                    settings=settings,
                    releases={color: own.version for color, own in colors.items()},
                    balancer=suffix,
                    target_groups=dict(zip(Color, rest[: len(Color)], strict=True)),
                    alarms=rest[len(Color) :],
                )
            )

        made = cloudwatch.Dashboard(
            name,
            # Dashboards of all regions share one list; putting one under a taken name does no harm.
            dashboard_name=f"{context.project}-{context.stack}-{context.region}",
            dashboard_body=pulumi.Output.all(balancer, *(target_groups[color] for color in Color), *alarms).apply(body),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.name = made.dashboard_name
        self.register_outputs({"name": self.name})
