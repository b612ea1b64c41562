"""Budgets, and who is notified of them."""

from __future__ import annotations

from typing import Any

from .base import Cloud, Created, Handler, Naming, Props


class Budget(Handler):
    pulumi_type = "aws:budgets/budget:Budget"
    naming = Naming(limit=100)
    force_new = frozenset({"name"})
    tagged = True

    def create(self, cloud: Cloud, new: Props) -> Created:
        budget = {
            "BudgetName": new["name"],
            "BudgetType": new["budgetType"],
            "TimeUnit": new["timeUnit"],
            "BudgetLimit": {"Amount": new["limitAmount"], "Unit": new["limitUnit"]},
        }
        notifications = [
            {"Notification": _notification(each), "Subscribers": _subscribers(each)}
            for each in new.get("notifications") or []
        ]
        cloud.client("budgets").create_budget(
            AccountId=cloud.account, Budget=budget, NotificationsWithSubscribers=notifications
        )
        return Created(id=f"{cloud.account}:{new['name']}")

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        account, _, name = id.partition(":")
        cloud.client("budgets").describe_budget(AccountId=account, BudgetName=name)
        return {"arn": f"arn:{cloud.partition}:budgets::{account}:budget/{name}"}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        account, _, name = id.partition(":")
        found = cloud.client("budgets").describe_budget(AccountId=account, BudgetName=name)["Budget"]
        return {
            "limitAmount": found["BudgetLimit"]["Amount"],
            "limitUnit": found["BudgetLimit"]["Unit"],
            "timeUnit": found["TimeUnit"],
            "budgetType": found["BudgetType"],
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        """moto 5.2.5 has no UpdateBudget, nor tags of budgets: another budget takes the name."""
        self.delete(cloud, id, old)
        self.create(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        account, _, name = id.partition(":")
        cloud.client("budgets").delete_budget(AccountId=account, BudgetName=name)


def _notification(each: Props) -> dict[str, Any]:
    return {
        "NotificationType": each["notificationType"],
        "ComparisonOperator": each["comparisonOperator"],
        "Threshold": each["threshold"],
        "ThresholdType": each["thresholdType"],
    }


def _subscribers(each: Props) -> list[dict[str, str]]:
    return [{"SubscriptionType": "EMAIL", "Address": email} for email in each.get("subscriberEmailAddresses") or []]
