"""AWS Budgets alert for the account's monthly costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import budgets

ALERTS = {"ACTUAL": 80, "FORECASTED": 100}  # percent of the limit: actual costs, and the forecast for the month


@dataclass(frozen=True, kw_only=True)
class SpendingAlertArgs:
    """`limit` in USD a month."""

    stack: str
    project: str
    limit: int
    emails: Sequence[str]


class SpendingAlert(pulumi.ComponentResource):
    """A budget of the entire account; it notifies and stops nothing."""

    def __init__(self, name: str, args: SpendingAlertArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:bootstrap:SpendingAlert", name, {}, opts)
        budgets.Budget(
            name,
            name=f"{args.project}-monthly",
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(args.limit),
            limit_unit="USD",
            notifications=[
                budgets.BudgetNotificationArgs(
                    notification_type=kind,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                    subscriber_email_addresses=list(args.emails),
                )
                for kind, percent in ALERTS.items()
            ],
            tags={"Stack": args.stack},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
