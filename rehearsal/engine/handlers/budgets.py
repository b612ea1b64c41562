"""What an account may cost a month, and who is told when it does."""

from __future__ import annotations

from typing import Any

from .base import Cloud, Created, Handler, Naming, Props, is_gone


class Budget(Handler):
    pulumi_type = "aws:budgets/budget:Budget"
    naming = Naming(limit=100)
    # moto 5.2.5 has neither UpdateBudget nor tags of budgets: all but the notifications makes another budget.
    force_new = frozenset(
        {"name", "namePrefix", "budgetType", "timeUnit", "limitAmount", "limitUnit", "costFilters", "tags", "tagsAll"}
    )
    tagged = True

    def create(self, cloud: Cloud, new: Props) -> Created:
        budget = {
            "BudgetName": new["name"],
            "BudgetType": new["budgetType"],
            "TimeUnit": new["timeUnit"],
            "BudgetLimit": {"Amount": str(new["limitAmount"]), "Unit": new["limitUnit"]},
        }
        if filters := new.get("costFilters"):
            budget["CostFilters"] = {each["name"]: each["values"] for each in filters}
        alarms = [
            {"Notification": _notification(each), "Subscribers": _subscribers(each)}
            for each in new.get("notifications") or []
        ]
        cloud.client("budgets").create_budget(
            AccountId=cloud.account, Budget=budget, NotificationsWithSubscribers=alarms
        )
        return Created(id=f"{cloud.account}:{new['name']}")

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        account, _, name = id.partition(":")
        cloud.client("budgets").describe_budget(AccountId=account, BudgetName=name)
        return {"arn": f"arn:{cloud.partition}:budgets::{account}:budget/{name}", "accountId": account}

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
        was, now = old.get("notifications") or [], new.get("notifications") or []
        budgets, account, name = cloud.client("budgets"), *id.split(":", 1)
        which = {"AccountId": account, "BudgetName": name}
        for each in [each for each in was if each not in now]:
            budgets.delete_notification(**which, Notification=_notification(each))
        for each in [each for each in now if each not in was]:
            budgets.create_notification(**which, Notification=_notification(each), Subscribers=_subscribers(each))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        account, _, name = id.partition(":")
        cloud.client("budgets").delete_budget(AccountId=account, BudgetName=name)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        try:
            cloud.client("budgets").describe_budget(AccountId=cloud.account, BudgetName=inputs["name"])
        except Exception as error:
            if is_gone(error):
                return []
            raise
        return [f"{cloud.account}:{inputs['name']}"]


def _notification(each: Props) -> dict[str, Any]:
    return {
        "NotificationType": each["notificationType"],
        "ComparisonOperator": each["comparisonOperator"],
        "Threshold": each["threshold"],
        "ThresholdType": each["thresholdType"],
    }


def _subscribers(each: Props) -> list[dict[str, str]]:
    kinds = {"subscriberEmailAddresses": "EMAIL", "subscriberSnsTopicArns": "SNS"}
    return [
        {"SubscriptionType": kind, "Address": address} for key, kind in kinds.items() for address in each.get(key) or []
    ]
