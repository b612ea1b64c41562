"""The account's own program under the engine: from nothing to what CI needs, and nothing again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import ConfigValue
from pulumi.automation.errors import CommandError

from rehearsal.engine import Stack

from .conftest import REGION, Traffic, counts

pytestmark = pytest.mark.usefixtures("warm")
Client = Callable[[str], Any]
BOOTSTRAP = Path(__file__).resolve().parents[3] / "bootstrap"
ACCOUNT = "123456789012"
CONFIG = {
    "aws:region": REGION,
    "repository": "Acme/shop",
    "repositoryOwnerId": "7",
    "repositoryId": "1234567890",
    "alertEmails": '["ops@example.org"]',
}
ROLES = {"bluegreen-preview", "bluegreen-deploy"}


@pytest.fixture
def account(tmp_path: Path, traffic: Traffic) -> Stack:
    """A stack whose config a person has set, and no resource yet."""
    (tmp_path / "Pulumi.account.yaml").write_text("config: {}\n")
    stack = Stack("account", project=BOOTSTRAP, state_dir=tmp_path)
    for key, value in CONFIG.items():
        configure(stack, key, value)
    return stack


def configure(stack: Stack, key: str, value: str) -> None:
    if value.startswith("["):
        for place, item in enumerate(json.loads(value)):
            stack.set_config(f"{key}[{place}]", ConfigValue(item), path=True)
    else:
        stack.set_config(key, ConfigValue(value))


def up(stack: Stack) -> dict[str, int]:
    return counts(stack.up().summary.resource_changes)


def outputs(stack: Stack) -> dict[str, Any]:
    return {key: each.value for key, each in stack.outputs().items()}


def left(aws: Client) -> list[str]:
    kms, iam = aws("kms"), aws("iam")
    found = [each["Name"] for each in aws("s3").list_buckets()["Buckets"]]
    found += [each["RoleName"] for each in iam.list_roles()["Roles"]]
    found += [each["Arn"] for each in iam.list_policies(Scope="Local")["Policies"]]
    found += [each["Arn"] for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    found += [each["BudgetName"] for each in aws("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"]]
    keys = [kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"] for each in kms.list_keys()["Keys"]]
    return found + [each["KeyId"] for each in keys if each["KeyState"] == "Enabled" and each["KeyManager"] != "AWS"]


def test_an_account_is_made_once_changed_never_and_emptied_when_asked(
    account: Stack, aws: Client, traffic: Traffic
) -> None:
    assert set(up(account)) == {"create"}
    told = outputs(account)
    check_state(told, aws)
    check_roles(told, aws)

    traffic.actions.clear()
    assert set(up(account)) == {"same"}
    assert traffic.writes() == []
    assert outputs(account) == told

    with pytest.raises(CommandError, match="protect"):
        account.destroy()
    assert {each["RoleName"] for each in aws("iam").list_roles()["Roles"]} >= ROLES

    account.set_config("protect", ConfigValue("false"))
    assert set(up(account)) == {"same"}
    account.destroy()
    assert left(aws) == []


def check_state(told: dict[str, Any], aws: Client) -> None:
    (bucket,) = [each["Name"] for each in aws("s3").list_buckets()["Buckets"]]
    assert bucket.startswith("bluegreen-state-")
    assert told["backendUrl"] == f"s3://{bucket}?region={REGION}&awssdk=v2"
    s3, kms = aws("s3"), aws("kms")
    key = kms.describe_key(KeyId="alias/bluegreen-state")["KeyMetadata"]
    assert told["secretsProvider"] == f"awskms:///{key['Arn']}?region={REGION}"
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is True
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]}
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    (denied,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert (denied["Effect"], denied["Sid"]) == ("Deny", "TlsOnly")
    (aging,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert aging["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}
    assert aging["Expiration"] == {"ExpiredObjectDeleteMarker": True}


def check_roles(told: dict[str, Any], aws: Client) -> None:
    iam = aws("iam")
    roles = {name: iam.get_role(RoleName=name)["Role"] for name in ROLES}
    assert roles["bluegreen-preview"]["Arn"] == told["previewRoleArn"]
    assert roles["bluegreen-deploy"]["Arn"] == told["deployRoleArn"]
    bound = roles["bluegreen-deploy"]["PermissionsBoundary"]["PermissionsBoundaryArn"]
    assert bound == told["permissionsBoundaryArn"] == f"arn:aws:iam::{ACCOUNT}:policy/bluegreen-ci/bluegreen-boundary"
    asked = roles["bluegreen-deploy"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]
    assert asked["token.actions.githubusercontent.com:sub"] == [
        "repo:Acme/shop:environment:dev",
        "repo:Acme/shop:environment:production",
        "repo:Acme@7/shop@1234567890:environment:dev",
        "repo:Acme@7/shop@1234567890:environment:production",
    ]


def test_another_environment_is_one_change(account: Stack, aws: Client) -> None:
    up(account)
    configure(account, "environments", '["dev", "production", "staging"]')
    assert up(account)["update"] == 1


def test_a_provider_that_the_account_has_is_taken(account: Stack, aws: Client) -> None:
    theirs = aws("iam").create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com", ClientIDList=["sts.amazonaws.com"]
    )["OpenIDConnectProviderArn"]
    account.set_config("oidcProviderArn", ConfigValue(theirs))
    up(account)
    trusted = aws("iam").get_role(RoleName="bluegreen-deploy")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]
    assert trusted["Principal"] == {"Federated": theirs}
    account.set_config("protect", ConfigValue("false"))
    up(account)
    account.destroy()
    assert left(aws) == [theirs]


def test_bad_config_makes_nothing(account: Stack, aws: Client, traffic: Traffic) -> None:
    account.set_config("repository", ConfigValue("shop"))
    account.set_config("repositoryId", ConfigValue("0"))
    with pytest.raises(CommandError) as caught:
        account.up()
    assert "repository: shop: allowed is owner/name of a GitHub repository" in str(caught.value)
    assert "repositoryOwnerId: 7: allowed only together with repositoryId" in str(caught.value)
    assert traffic.writes() == []
