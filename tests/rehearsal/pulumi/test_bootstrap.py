"""The program of bootstrap/: creation, update and destruction of the resources for CI."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pulumi.automation as auto
import pytest
from pulumi.automation import CommandError, ConfigValue

from rehearsal.cloud.client import CloudClient
from rehearsal.workspace import Workspace
from tests.rehearsal.cloud.fleet import REGION, Running

pytestmark = pytest.mark.engine
BOOTSTRAP = Path(__file__).resolve().parents[3] / "bootstrap"
ACCOUNT = "123456789012"
CONFIG = {
    "aws:region": REGION,
    "repository": "Acme/shop",
    "repositoryOwnerId": "7",
    "repositoryId": "1234567890",
    "alertEmails[0]": "ops@example.org",
}
ROLES = {"bluegreen-preview", "bluegreen-deploy"}


@pytest.fixture
def account(workspace: Workspace) -> auto.Stack:
    """A stack with config, but without resources."""
    folder = workspace.project / "bootstrap"
    folder.unlink()  # a link to the repository's, where no stack's file may be written
    shutil.copytree(BOOTSTRAP, folder, ignore=shutil.ignore_patterns("__pycache__"))
    stack = auto.create_stack(stack_name="account", work_dir=str(folder))
    stack.set_all_config({key: ConfigValue(value) for key, value in CONFIG.items()}, path=True)
    return stack


def up(stack: auto.Stack) -> dict[str, int]:
    return {str(op): count for op, count in (stack.up().summary.resource_changes or {}).items()}


def outputs(stack: auto.Stack) -> dict[str, Any]:
    return {key: each.value for key, each in stack.outputs().items()}


def remaining(cloud: Running) -> list[str]:
    kms, iam = cloud.client("kms"), cloud.client("iam")
    found = [each["Name"] for each in cloud.client("s3").list_buckets()["Buckets"]]
    found += [each["RoleName"] for each in iam.list_roles()["Roles"]]
    found += [each["Arn"] for each in iam.list_policies(Scope="Local")["Policies"]]
    found += [each["Arn"] for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    found += [each["BudgetName"] for each in cloud.client("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"]]
    keys = [kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"] for each in kms.list_keys()["Keys"]]
    return found + [each["KeyId"] for each in keys if each["KeyState"] == "Enabled" and each["KeyManager"] != "AWS"]


def test_the_account_stack_is_created_updated_and_destroyed(
    account: auto.Stack, cloud: Running, calls: CloudClient
) -> None:
    assert set(up(account)) == {"create"}
    exported = outputs(account)
    check_state(exported, cloud)
    check_roles(exported, cloud)

    before = calls.write_calls()
    assert set(up(account)) == {"same"}
    assert calls.write_calls() == before
    assert outputs(account) == exported

    names = {f"environments[{index}]": name for index, name in enumerate(("dev", "production", "staging"))}
    account.set_all_config({key: ConfigValue(name) for key, name in names.items()}, path=True)
    assert up(account)["update"] == 1

    with pytest.raises(CommandError, match="protect"):
        account.destroy()
    # Pulumi has deleted resources before the refusal; the bucket with the state of all stacks is not among them.
    assert [each["Name"] for each in cloud.client("s3").list_buckets()["Buckets"]] == [
        exported["backendUrl"][5:].split("?")[0]
    ]

    account.set_config("protect", ConfigValue("false"))
    up(account)
    account.destroy()
    assert remaining(cloud) == []


def check_state(exported: dict[str, Any], cloud: Running) -> None:
    (bucket,) = [each["Name"] for each in cloud.client("s3").list_buckets()["Buckets"]]
    assert bucket.startswith("bluegreen-state-")
    assert exported["backendUrl"] == f"s3://{bucket}?region={REGION}&awssdk=v2"
    s3, kms = cloud.client("s3"), cloud.client("kms")
    key = kms.describe_key(KeyId="alias/bluegreen-state")["KeyMetadata"]
    assert exported["secretsProvider"] == f"awskms:///{key['Arn']}?region={REGION}"
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


def check_roles(exported: dict[str, Any], cloud: Running) -> None:
    iam = cloud.client("iam")
    roles = {name: iam.get_role(RoleName=name)["Role"] for name in ROLES}
    assert roles["bluegreen-preview"]["Arn"] == exported["previewRoleArn"]
    assert roles["bluegreen-deploy"]["Arn"] == exported["deployRoleArn"]
    bound = roles["bluegreen-deploy"]["PermissionsBoundary"]["PermissionsBoundaryArn"]
    assert (
        bound == exported["permissionsBoundaryArn"] == f"arn:aws:iam::{ACCOUNT}:policy/bluegreen-ci/bluegreen-boundary"
    )
    conditions = roles["bluegreen-deploy"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]
    assert conditions["token.actions.githubusercontent.com:sub"] == [
        "repo:Acme/shop:environment:dev",
        "repo:Acme/shop:environment:production",
        "repo:Acme@7/shop@1234567890:environment:dev",
        "repo:Acme@7/shop@1234567890:environment:production",
    ]


def test_an_existing_identity_provider_is_used(account: auto.Stack, cloud: Running) -> None:
    theirs = cloud.client("iam").create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com", ClientIDList=["sts.amazonaws.com"]
    )["OpenIDConnectProviderArn"]
    account.set_config("oidcProviderArn", ConfigValue(theirs))
    up(account)
    role = cloud.client("iam").get_role(RoleName="bluegreen-deploy")["Role"]
    trusted = role["AssumeRolePolicyDocument"]["Statement"][0]
    assert trusted["Principal"] == {"Federated": theirs}
    account.set_config("protect", ConfigValue("false"))
    up(account)
    account.destroy()
    assert remaining(cloud) == [theirs]


def test_invalid_config_creates_nothing(account: auto.Stack, cloud: Running, calls: CloudClient) -> None:
    before = calls.write_calls()
    account.set_config("repository", ConfigValue("shop"))
    account.set_config("repositoryId", ConfigValue("0"))
    with pytest.raises(CommandError) as caught:
        account.up()
    assert "repository: shop: allowed is owner/name of a GitHub repository" in str(caught.value)
    assert "repositoryOwnerId: 7: allowed only together with repositoryId" in str(caught.value)
    assert calls.write_calls() == before
