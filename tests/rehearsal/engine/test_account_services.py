"""Kinds of resources that exist once in an account: each goes through its whole life against the emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pulumi.automation.errors import CommandError

from .conftest import Traffic, Workshop

pytestmark = pytest.mark.usefixtures("warm")
Client = Callable[[str], Any]
ACCOUNT = "123456789012"
KEY = """
key = aws.kms.Key(
    "state", description="{description}", enable_key_rotation={rotation}, deletion_window_in_days=7,
    policy='{policy}', tags={{"Stack": "{stack}"}},
)
alias = aws.kms.Alias("state", name="alias/state", target_key_id=key.key_id)
pulumi.export("key", {{"id": key.id, "arn": key.arn, "keyId": key.key_id}})
pulumi.export("alias", {{"arn": alias.arn, "target": alias.target_key_arn}})
"""
POLICY = """
policy = aws.iam.Policy("limit", name="limit", path="/ci/", policy='{document}', tags={{"Stack": "{stack}"}})
role = aws.iam.Role("bounded", name="bounded", assume_role_policy='{trust}', {boundary})
pulumi.export("policy", policy.arn)
"""
PROVIDER = """
provider = aws.iam.OpenIdConnectProvider(
    "github", url="https://token.example.org", client_id_lists=["{audience}"], tags={{"Stack": "{stack}"}}
)
pulumi.export("provider", provider.arn)
"""
BUDGET = """
def told(threshold, emails):
    return {{
        "notification_type": "ACTUAL", "comparison_operator": "GREATER_THAN", "threshold": threshold,
        "threshold_type": "PERCENTAGE", "subscriber_email_addresses": emails,
    }}
budget = aws.budgets.Budget(
    "month", budget_type="COST", time_unit="MONTHLY", limit_unit="USD", limit_amount="{limit}",
    notifications=[{notifications}],
)
pulumi.export("budget", {{"name": budget.name, "arn": budget.arn}})
"""


def document(action: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})


TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}],
    }
)


def key(description: str = "state", rotation: bool = True, action: str = "kms:*", stack: str = "test") -> str:
    own = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": action, "Resource": "*"}],
        }
    )
    return KEY.format(description=description, rotation=rotation, policy=own, stack=stack)


def policy(action: str = "s3:ListBucket", stack: str = "test", bounded: bool = True) -> str:
    boundary = "permissions_boundary=policy.arn" if bounded else ""
    return POLICY.format(document=document(action), trust=TRUST, stack=stack, boundary=boundary)


def provider(audience: str = "sts.amazonaws.com", stack: str = "test") -> str:
    return PROVIDER.format(audience=audience, stack=stack)


def budget(*notifications: str, limit: str = "100") -> str:
    return BUDGET.format(limit=limit, notifications=", ".join(notifications))


def usable_keys(aws: Client) -> list[str]:
    kms = aws("kms")
    keys = [kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"] for each in kms.list_keys()["Keys"]]
    return [each["KeyId"] for each in keys if each["KeyState"] == "Enabled" and each["KeyManager"] != "AWS"]


def unchanged(shop: Workshop, traffic: Traffic) -> bool:
    traffic.actions.clear()
    return shop.up() == {} and traffic.actions == []


def test_a_key_is_made_as_asked_and_known_by_its_alias(shop: Workshop, aws: Client, traffic: Traffic) -> None:
    assert shop.up(key()) == {"create": 3}
    found = shop.outputs()
    (made,) = usable_keys(aws)
    arn = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{made}"
    assert found["key"] == {"id": made, "arn": arn, "keyId": made}
    assert found["alias"] == {"arn": f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/state", "target": arn}
    kms = aws("kms")
    assert kms.describe_key(KeyId="alias/state")["KeyMetadata"]["Description"] == "state"
    assert kms.get_key_rotation_status(KeyId=made)["KeyRotationEnabled"] is True
    assert kms.list_resource_tags(KeyId=made)["Tags"] == [{"TagKey": "Stack", "TagValue": "test"}]
    assert unchanged(shop, traffic)


def test_a_key_changes_in_place(shop: Workshop, aws: Client) -> None:
    shop.up(key())
    before = shop.outputs()["key"]
    assert shop.up(key(description="other", rotation=False, action="kms:Describe*", stack="new")) == {"update": 1}
    assert shop.outputs()["key"] == before
    kms, id = aws("kms"), before["id"]
    assert kms.describe_key(KeyId=id)["KeyMetadata"]["Description"] == "other"
    assert kms.get_key_rotation_status(KeyId=id)["KeyRotationEnabled"] is False
    assert "kms:Describe*" in kms.get_key_policy(KeyId=id, PolicyName="default")["Policy"]
    assert kms.list_resource_tags(KeyId=id)["Tags"] == [{"TagKey": "Stack", "TagValue": "new"}]


def test_a_key_goes_after_its_window_and_its_alias_at_once(shop: Workshop, aws: Client) -> None:
    shop.up(key())
    id = shop.outputs()["key"]["id"]
    shop.stack.destroy()
    found = aws("kms").describe_key(KeyId=id)["KeyMetadata"]
    assert found["KeyState"] == "PendingDeletion"
    assert 6 <= (found["DeletionDate"] - found["CreationDate"]).days <= 7
    assert "alias/state" not in [each["AliasName"] for each in aws("kms").list_aliases()["Aliases"]]


def test_a_key_that_is_to_be_deleted_is_no_more(shop: Workshop, aws: Client) -> None:
    shop.up(key())
    aws("kms").schedule_key_deletion(KeyId=shop.outputs()["key"]["id"], PendingWindowInDays=7)
    shop.stack.refresh()
    assert shop.up()["create"] == 1
    assert len(usable_keys(aws)) == 1


def test_a_key_whose_making_was_interrupted_is_found_again(shop: Workshop, aws: Client) -> None:
    shop.up(key())
    path = shop.stack.folder / "state.json"
    data = json.loads(path.read_text())
    (lost,) = [each for each in data["resources"] if each["type"] == "aws:kms/key:Key"]
    data["resources"].remove(lost)
    data["begun"][lost["urn"]] = {"provider": "", "inputs": lost["inputs"]}
    path.write_text(json.dumps(data))
    shop.up()
    (made,) = usable_keys(aws)
    assert shop.outputs()["key"]["id"] == made


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("deletion_window_in_days=7", "deletion_window_in_days=3", "deletionWindowInDays: 3: allowed are 7 to 30"),
        ('name="alias/state"', 'name="state"', "name: state: allowed is a name that begins with alias/"),
    ],
)
def test_what_kms_would_refuse_is_refused(shop: Workshop, before: str, after: str, told: str) -> None:
    with pytest.raises(CommandError, match=told):
        shop.up(key().replace(before, after))


def test_a_policy_bounds_a_role(shop: Workshop, aws: Client, traffic: Traffic) -> None:
    assert shop.up(policy()) == {"create": 3}
    arn = f"arn:aws:iam::{ACCOUNT}:policy/ci/limit"
    assert shop.outputs() == {"policy": arn}
    bounded = aws("iam").get_role(RoleName="bounded")["Role"]
    assert bounded["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
    assert unchanged(shop, traffic)


def test_a_role_gets_and_loses_its_boundary_in_place(shop: Workshop, aws: Client) -> None:
    shop.up(policy(bounded=False))
    assert shop.up(policy()) == {"update": 1}
    assert "PermissionsBoundary" in aws("iam").get_role(RoleName="bounded")["Role"]
    assert shop.up(policy(bounded=False)) == {"update": 1}
    assert "PermissionsBoundary" not in aws("iam").get_role(RoleName="bounded")["Role"]


def test_a_policy_may_change_more_often_than_iam_keeps_versions(shop: Workshop, aws: Client) -> None:
    shop.up(policy())
    for number in range(6):
        assert shop.up(policy(action=f"s3:Get{number}", stack=f"s{number}")) == {"update": 1}
    iam, arn = aws("iam"), shop.outputs()["policy"]
    found = iam.get_policy(PolicyArn=arn)["Policy"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId=found["DefaultVersionId"])["PolicyVersion"]
    assert version["Document"]["Statement"][0]["Action"] == "s3:Get5"
    assert len(iam.list_policy_versions(PolicyArn=arn)["Versions"]) == 5
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "Stack", "Value": "s5"}]
    shop.stack.destroy()
    assert iam.list_policies(Scope="Local")["Policies"] == []


def test_an_identity_provider_lives(shop: Workshop, aws: Client, traffic: Traffic) -> None:
    iam, arn = aws("iam"), f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.example.org"
    assert shop.up(provider()) == {"create": 2}
    assert shop.outputs() == {"provider": arn}
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"]) == ("token.example.org", ["sts.amazonaws.com"])
    assert unchanged(shop, traffic)
    assert shop.up(provider(stack="new")) == {"update": 1}
    assert iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"] == [
        {"Key": "Stack", "Value": "new"}
    ]
    assert shop.up(provider(audience="other", stack="new")) == {"replace": 1}
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["other"]
    shop.stack.destroy()
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []


def test_a_budget_tells_whom_it_should(shop: Workshop, aws: Client, traffic: Traffic) -> None:
    budgets = aws("budgets")
    assert shop.up(budget('told(80, ["a@example.org"])')) == {"create": 2}
    name = shop.outputs()["budget"]["name"]
    assert shop.outputs()["budget"]["arn"] == f"arn:aws:budgets::{ACCOUNT}:budget/{name}"
    found = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=name)["Budget"]
    assert found["BudgetLimit"] == {"Amount": "100", "Unit": "USD"}
    assert unchanged(shop, traffic)

    assert shop.up(budget('told(90, ["a@example.org"])', 'told(100, ["b@example.org"])')) == {"update": 1}
    alarms = budgets.describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName=name)["Notifications"]
    assert [each["Threshold"] for each in alarms] == [90, 100]

    assert shop.up(budget(limit="200")) == {"replace": 1}
    (left,) = budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert left["BudgetLimit"] == {"Amount": "200", "Unit": "USD"}
    shop.stack.destroy()
    assert budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"] == []


ALL = key() + policy() + provider() + budget('told(80, ["a@example.org"])')


def by_hand(aws: Client, found: dict[str, Any]) -> None:
    """What somebody might do in the console."""
    iam, kms = aws("iam"), aws("kms")
    kms.disable_key_rotation(KeyId=found["key"]["id"])
    kms.tag_resource(KeyId=found["key"]["id"], Tags=[{"TagKey": "Own", "TagValue": "1"}])
    iam.create_policy_version(PolicyArn=found["policy"], PolicyDocument=document("s3:*"), SetAsDefault=True)
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=found["provider"], TagKeys=["Stack"])


def test_a_refresh_finds_what_it_left_and_what_hands_changed(shop: Workshop, aws: Client) -> None:
    shop.up(ALL)
    shop.stack.preview_refresh(expect_no_changes=True)
    by_hand(aws, shop.outputs())
    with pytest.raises(CommandError, match="no changes were expected"):
        shop.stack.preview_refresh(expect_no_changes=True)
    shop.stack.refresh()
    assert shop.up() == {"update": 3}
    kms, id = aws("kms"), shop.outputs()["key"]["id"]
    assert kms.get_key_rotation_status(KeyId=id)["KeyRotationEnabled"] is True
    assert kms.list_resource_tags(KeyId=id)["Tags"] == [{"TagKey": "Stack", "TagValue": "test"}]
    shop.stack.preview_refresh(expect_no_changes=True)


def test_a_budget_that_was_made_anew_by_hand_is_put_right(shop: Workshop, aws: Client) -> None:
    shop.up(budget())
    budgets, name = aws("budgets"), shop.outputs()["budget"]["name"]
    theirs = budgets.describe_budget(AccountId=ACCOUNT, BudgetName=name)["Budget"]
    budgets.delete_budget(AccountId=ACCOUNT, BudgetName=name)
    kept = {key: theirs[key] for key in ("BudgetName", "BudgetType", "TimeUnit")}
    budgets.create_budget(AccountId=ACCOUNT, Budget=kept | {"BudgetLimit": {"Amount": "999.0", "Unit": "USD"}})
    shop.stack.refresh()
    assert shop.up() == {"replace": 1}
    (left,) = budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert left["BudgetLimit"]["Amount"] == "100"


def test_an_alias_that_was_moved_is_moved_back(shop: Workshop, aws: Client) -> None:
    shop.up(key())
    kms = aws("kms")
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.update_alias(AliasName="alias/state", TargetKeyId=other)
    shop.stack.refresh()
    assert shop.up() == {"update": 1}
    assert kms.describe_key(KeyId="alias/state")["KeyMetadata"]["KeyId"] == shop.outputs()["key"]["id"]
