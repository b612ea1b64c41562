"""Budgets and their notifications."""

from __future__ import annotations

from typing import Any

from .base import AwsClients, Created, Handler, Naming, Props


class BudgetHandler(Handler):
    pulumi_type = "aws:budgets/budget:Budget"
    naming = Naming(max_length=100)
    force_new = frozenset({"name"})
    tagged = True

    def create(self, aws: AwsClients, new: Props) -> Created:
        budget = {
            "BudgetName": new["name"],
            "BudgetType": new["budgetType"],
            "TimeUnit": new["timeUnit"],
            "BudgetLimit": {"Amount": new["limitAmount"], "Unit": new["limitUnit"]},
        }
        notifications = [
            {"Notification": _notification(notification), "Subscribers": _subscribers(notification)}
            for notification in new.get("notifications") or []
        ]
        aws.client("budgets").create_budget(
            AccountId=aws.account, Budget=budget, NotificationsWithSubscribers=notifications
        )
        return Created(id=f"{aws.account}:{new['name']}")

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        account, _, name = id.partition(":")
        aws.client("budgets").describe_budget(AccountId=account, BudgetName=name)
        return {"arn": f"arn:{aws.partition}:budgets::{account}:budget/{name}"}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        account, _, name = id.partition(":")
        actual = aws.client("budgets").describe_budget(AccountId=account, BudgetName=name)["Budget"]
        return {
            "limitAmount": actual["BudgetLimit"]["Amount"],
            "limitUnit": actual["BudgetLimit"]["Unit"],
            "timeUnit": actual["TimeUnit"],
            "budgetType": actual["BudgetType"],
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        """moto 5.2.5 has no UpdateBudget and no tags of budgets: a new budget of the same name replaces it."""
        self.delete(aws, id, old)
        self.create(aws, new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        account, _, name = id.partition(":")
        aws.client("budgets").delete_budget(AccountId=account, BudgetName=name)


def _notification(notification: Props) -> dict[str, Any]:
    return {
        "NotificationType": notification["notificationType"],
        "ComparisonOperator": notification["comparisonOperator"],
        "Threshold": notification["threshold"],
        "ThresholdType": notification["thresholdType"],
    }


def _subscribers(notification: Props) -> list[dict[str, str]]:
    return [
        {"SubscriptionType": "EMAIL", "Address": email} for email in notification.get("subscriberEmailAddresses") or []
    ]
