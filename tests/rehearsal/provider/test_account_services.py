"""Resources that exist once in an account: keys, policies, roles, identity providers, budgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .client import CheckError, Client, Resource

Aws = Callable[[str], Any]
ACCOUNT = "123456789012"


def document(action: str, **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def key_policy(action: str) -> str:
    return document(action, Principal={"AWS": "*"})


TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}],
    }
)
NOBODY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": "*"}]}
NOTIFICATION = {
    "notificationType": "ACTUAL",
    "comparisonOperator": "GREATER_THAN",
    "threshold": 80,
    "thresholdType": "PERCENTAGE",
    "subscriberEmailAddresses": ["a@example.org"],
}


@pytest.fixture
def key(provider: Client) -> Resource:
    return provider.create(
        "aws:kms:Key",
        "state",
        description="state",
        enableKeyRotation=True,
        deletionWindowInDays=7,
        policy=key_policy("kms:*"),
        tags={"Stack": "test"},
    )


@pytest.fixture
def alias(provider: Client, key: Resource) -> Resource:
    return provider.create("aws:kms:Alias", "state", name="alias/state", targetKeyId=key["keyId"])


@pytest.fixture
def policy(provider: Client) -> Resource:
    return provider.create(
        "aws:iam:Policy",
        "limit",
        name="limit",
        path="/ci/",
        policy=document("s3:ListBucket"),
        tags={"Stack": "test"},
    )


@pytest.fixture
def role(provider: Client) -> Resource:
    return provider.create("aws:iam:Role", "writer", name="writer", assumeRolePolicy=TRUST, tags={"Stack": "test"})


@pytest.fixture
def identity(provider: Client) -> Resource:
    return provider.create(
        "aws:iam:OpenIdConnectProvider",
        "github",
        url="https://token.example.org",
        clientIdLists=["sts.amazonaws.com"],
        tags={"Stack": "test"},
    )


@pytest.fixture
def budget(provider: Client) -> Resource:
    return provider.create(
        "aws:budgets:Budget",
        "month",
        budgetType="COST",
        timeUnit="MONTHLY",
        limitUnit="USD",
        limitAmount="100",
        notifications=[NOTIFICATION],
    )


def key_tags(aws: Aws, id: str) -> dict[str, str]:
    return {each["TagKey"]: each["TagValue"] for each in aws("kms").list_resource_tags(KeyId=id)["Tags"]}


def found_budget(aws: Aws) -> dict[str, Any]:
    (found,) = aws("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"]
    return dict(found)


def test_a_key_is_created_as_declared(provider: Client, aws: Aws, key: Resource) -> None:
    assert (key["keyId"], key["arn"]) == (key.id, f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{key.id}")
    kms = aws("kms")
    assert kms.describe_key(KeyId=key.id)["KeyMetadata"]["Description"] == "state"
    assert kms.get_key_rotation_status(KeyId=key.id)["KeyRotationEnabled"] is True
    assert key_tags(aws, key.id) == {"Stack": "test"}
    assert provider.update(key) == {}


def test_a_key_is_known_by_its_alias(provider: Client, aws: Aws, key: Resource, alias: Resource) -> None:
    assert alias["arn"] == f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/state"
    assert aws("kms").describe_key(KeyId="alias/state")["KeyMetadata"]["KeyId"] == key.id
    assert (provider.update(alias), provider.refresh(alias)) == ({}, {})


def test_a_key_changes_in_place(provider: Client, aws: Aws, key: Resource) -> None:
    id, kms = key.id, aws("kms")
    provider.update(
        key,
        description="other",
        enableKeyRotation=False,
        policy=key_policy("kms:Describe*"),
        tags={"Stack": "new"},
    )
    assert key.id == id
    assert kms.describe_key(KeyId=id)["KeyMetadata"]["Description"] == "other"
    assert kms.get_key_rotation_status(KeyId=id)["KeyRotationEnabled"] is False
    assert kms.get_key_policy(KeyId=id, PolicyName="default")["Policy"] == key_policy("kms:Describe*")
    assert key_tags(aws, id) == {"Stack": "new"}


def test_a_key_is_deleted_after_its_window_and_its_alias_at_once(
    provider: Client, aws: Aws, key: Resource, alias: Resource
) -> None:
    provider.delete(alias)
    provider.delete(key)
    found = aws("kms").describe_key(KeyId=key.id)["KeyMetadata"]
    assert found["KeyState"] == "PendingDeletion"
    assert 6 <= (found["DeletionDate"] - found["CreationDate"]).days <= 7
    assert "alias/state" not in [each["AliasName"] for each in aws("kms").list_aliases()["Aliases"]]
    assert provider.refresh(key) is None


def test_manual_changes_to_a_key_are_reverted(provider: Client, aws: Aws, key: Resource) -> None:
    assert provider.refresh(key) == {}
    aws("kms").disable_key_rotation(KeyId=key.id)
    aws("kms").tag_resource(KeyId=key.id, Tags=[{"TagKey": "Own", "TagValue": "1"}])
    assert provider.refresh(key) == {"enableKeyRotation": "update", "tags.Own": "delete"}
    provider.update(key)
    assert aws("kms").get_key_rotation_status(KeyId=key.id)["KeyRotationEnabled"] is True
    assert key_tags(aws, key.id) == {"Stack": "test"}


def test_manual_changes_to_an_alias_are_reverted(provider: Client, aws: Aws, key: Resource, alias: Resource) -> None:
    kms = aws("kms")
    kms.update_alias(AliasName="alias/state", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    assert provider.refresh(alias) == {"targetKeyId": "update"}
    provider.update(alias)
    assert kms.describe_key(KeyId="alias/state")["KeyMetadata"]["KeyId"] == key.id


@pytest.mark.parametrize(
    ("type", "inputs", "reason"),
    [
        ("Key", {"deletionWindowInDays": 3}, "deletionWindowInDays: 3: allowed are 7 to 30, as KMS has it"),
        ("Alias", {"name": "state", "targetKeyId": "k"}, "name: state: allowed is a name that begins with alias/"),
    ],
)
def test_what_kms_would_refuse_is_refused(provider: Client, type: str, inputs: dict[str, Any], reason: str) -> None:
    with pytest.raises(CheckError, match=f"^{reason}$"):
        provider.create(f"aws:kms:{type}", "state", **inputs)


def test_a_policy_may_change_more_often_than_iam_keeps_versions(provider: Client, aws: Aws, policy: Resource) -> None:
    arn, iam = policy["arn"], aws("iam")
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/ci/limit"
    for number in range(6):
        provider.update(policy, policy=document(f"s3:Get{number}"), tags={"Stack": f"s{number}"})
    found = iam.get_policy(PolicyArn=arn)["Policy"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId=found["DefaultVersionId"])["PolicyVersion"]
    assert version["Document"]["Statement"][0]["Action"] == "s3:Get5"
    assert len(iam.list_policy_versions(PolicyArn=arn)["Versions"]) == 5
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "Stack", "Value": "s5"}]
    provider.delete(policy)
    assert iam.list_policies(Scope="Local")["Policies"] == []


def test_manual_changes_to_a_policy_are_reverted(provider: Client, aws: Aws, policy: Resource) -> None:
    assert provider.refresh(policy) == {}
    aws("iam").create_policy_version(PolicyArn=policy.id, PolicyDocument=document("s3:*"), SetAsDefault=True)
    assert provider.refresh(policy) == {"policy": "update"}
    provider.update(policy)
    assert provider.refresh(policy) == {}


def test_a_role_changes_in_place(provider: Client, aws: Aws, policy: Resource, role: Resource) -> None:
    assert (role.id, role["arn"]) == ("writer", f"arn:aws:iam::{ACCOUNT}:role/writer")
    changes = provider.update(role, permissionsBoundary=policy["arn"], tags={"Stack": "new"})
    assert changes == {"permissionsBoundary": "add", "tags.Stack": "update"}
    found = aws("iam").get_role(RoleName="writer")["Role"]
    assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == policy["arn"]
    assert found["Tags"] == [{"Key": "Stack", "Value": "new"}]
    assert provider.update(role, permissionsBoundary=None) == {"permissionsBoundary": "delete"}
    assert "PermissionsBoundary" not in aws("iam").get_role(RoleName="writer")["Role"]


def test_manual_changes_to_a_role_are_reverted(provider: Client, aws: Aws, role: Resource) -> None:
    assert provider.refresh(role) == {}
    aws("iam").update_assume_role_policy(RoleName="writer", PolicyDocument=json.dumps(NOBODY))
    assert provider.refresh(role) == {"assumeRolePolicy": "update"}
    provider.update(role)
    assert aws("iam").get_role(RoleName="writer")["Role"]["AssumeRolePolicyDocument"] == json.loads(TRUST)


def test_a_roles_policy_is_created_updated_and_deleted(provider: Client, aws: Aws, role: Resource) -> None:
    inline = provider.create("aws:iam:RolePolicy", "may", role=role["name"], policy=document("s3:Get*"))
    key = {"RoleName": "writer", "PolicyName": inline["name"]}
    assert inline.id == f"writer:{inline['name']}"
    assert provider.update(inline, policy=document("s3:Put*")) == {"policy": "update"}
    assert aws("iam").get_role_policy(**key)["PolicyDocument"] == json.loads(document("s3:Put*"))
    assert provider.refresh(inline) == {}
    aws("iam").put_role_policy(**key, PolicyDocument=document("*"))
    assert provider.refresh(inline) == {"policy": "update"}
    provider.delete(inline)
    assert provider.refresh(inline) is None


def test_an_instance_profile_is_created_updated_and_deleted(provider: Client, aws: Aws, role: Resource) -> None:
    profile = provider.create("aws:iam:InstanceProfile", "of", path="/dev/", role=role["name"])
    assert profile["arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/dev/{profile.id}"
    assert provider.update(profile, tags={"Stack": "new"}) == {"tags.Stack": "add"}
    aws("iam").remove_role_from_instance_profile(InstanceProfileName=profile.id, RoleName="writer")
    assert provider.refresh(profile) == {"role": "add"}
    provider.update(profile)
    (found,) = aws("iam").list_instance_profiles()["InstanceProfiles"]
    assert [each["RoleName"] for each in found["Roles"]] == ["writer"]
    provider.delete(profile)
    assert aws("iam").list_instance_profiles()["InstanceProfiles"] == []


def test_an_identity_provider_is_created_updated_and_deleted(provider: Client, aws: Aws, identity: Resource) -> None:
    iam, arn = aws("iam"), f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.example.org"
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (identity["arn"], found["Url"], found["ClientIDList"]) == (arn, "token.example.org", ["sts.amazonaws.com"])
    assert provider.update(identity, tags={"Stack": "new"}) == {"tags.Stack": "update"}
    tags = iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"]
    assert tags == [{"Key": "Stack", "Value": "new"}]
    assert provider.update(identity, clientIdLists=["other"]) == {"clientIdLists[0]": "update"}
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["other"]
    provider.delete(identity)
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []


def test_manual_changes_to_an_identity_provider_are_reverted(provider: Client, aws: Aws, identity: Resource) -> None:
    assert provider.refresh(identity) == {}
    aws("iam").untag_open_id_connect_provider(OpenIDConnectProviderArn=identity.id, TagKeys=["Stack"])
    assert provider.refresh(identity) == {"tags.Stack": "add"}
    provider.update(identity)
    assert provider.refresh(identity) == {}


def test_a_budget_is_created_updated_and_deleted(provider: Client, aws: Aws, budget: Resource) -> None:
    name = budget["name"]
    assert (budget.id, budget["arn"]) == (f"{ACCOUNT}:{name}", f"arn:aws:budgets::{ACCOUNT}:budget/{name}")
    assert found_budget(aws)["BudgetLimit"] == {"Amount": "100", "Unit": "USD"}
    other = NOTIFICATION | {"threshold": 100, "subscriberEmailAddresses": ["b@example.org"]}
    provider.update(budget, notifications=[NOTIFICATION | {"threshold": 90}, other])
    found = aws("budgets").describe_notifications_for_budget(AccountId=ACCOUNT, BudgetName=name)["Notifications"]
    assert [each["Threshold"] for each in found] == [90, 100]
    assert provider.update(budget, limitAmount="200") == {"limitAmount": "update"}
    assert found_budget(aws)["BudgetLimit"] == {"Amount": "200", "Unit": "USD"}
    provider.delete(budget)
    assert aws("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"] == []


def test_manual_changes_to_a_budget_are_reverted(provider: Client, aws: Aws, budget: Resource) -> None:
    assert provider.refresh(budget) == {}
    retained = {key: found_budget(aws)[key] for key in ("BudgetName", "BudgetType", "TimeUnit")}
    aws("budgets").delete_budget(AccountId=ACCOUNT, BudgetName=budget["name"])
    limit = {"BudgetLimit": {"Amount": "999.0", "Unit": "USD"}}
    aws("budgets").create_budget(AccountId=ACCOUNT, Budget=retained | limit)
    assert provider.refresh(budget) == {"limitAmount": "update"}
    provider.update(budget)
    assert found_budget(aws)["BudgetLimit"]["Amount"] == "100"
