"""The account's whole program, run against the SDK's mock monitor."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pulumi
import pytest
import yaml

from bootstrap import ci_policies, subjects
from bootstrap.ci_policies import Account, Backend
from bootstrap.subjects import Repository
from tests.declared import ACCOUNT, REGION, ROOT, STACK_TYPE, Declaration, Declared, declare, short

BOOTSTRAP = ROOT / "bootstrap"
GITHUB = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
STATE = {
    ("s3.Bucket", "state"),
    ("s3.BucketLifecycleConfiguration", "state"),
    ("s3.BucketOwnershipControls", "state"),
    ("s3.BucketPolicy", "state"),
    ("s3.BucketPublicAccessBlock", "state"),
    ("s3.BucketServerSideEncryptionConfiguration", "state"),
    ("s3.BucketVersioning", "state"),
    ("kms.Key", "state"),
    ("kms.Alias", "state"),
}
ROLES = {(kind, name) for kind in ("iam.Role", "iam.RolePolicy") for name in ("preview", "deploy")}
OWN = Account(partition="aws", id=ACCOUNT, project="bluegreen")


def program(into: Declaration | None = None, **values: Any) -> Declaration:
    """The real `__main__.py` with the project's defaults, and the given values over them."""
    config: dict[str, Any] = {"aws:region": REGION}
    for key, declared in yaml.safe_load((BOOTSTRAP / "Pulumi.yaml").read_text())["config"].items():
        if ":" not in key:
            config[f"bluegreen-bootstrap:{key}"] = declared["default"]
    given = {"repository": "Acme/shop", "alertEmails": ["ops@example.org"]} | values
    config |= {f"bluegreen-bootstrap:{key}": value for key, value in given.items()}
    return declare(
        lambda: runpy.run_path(str(BOOTSTRAP / "__main__.py"), run_name="__main__"),
        stack="account",
        config={key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()},
        into=into,
    )


def backend(declared: Declaration) -> Backend:
    return Backend(bucket_arn=declared.one("s3.Bucket").arn, key_arn=declared.one("kms.Key").arn)


def document(each: Declared, key: str = "policy") -> Any:
    return json.loads(each.inputs[key])


def test_what_stands() -> None:
    assert program().table() == {
        *STATE,
        *ROLES,
        ("iam.OpenIdConnectProvider", "github"),
        ("iam.Policy", "boundary"),
        ("budgets.Budget", "spending"),
    }


def test_components_bear_the_types_that_the_state_knows() -> None:
    assert {each.type for each in program().resources if not each.custom and each.type != STACK_TYPE} == {
        "bluegreen:bootstrap:StateKey",
        "bluegreen:bootstrap:StateBucket",
        "bluegreen:bootstrap:GithubIdentity",
        "bluegreen:bootstrap:Boundary",
        "bluegreen:bootstrap:CiRole",
        "bluegreen:bootstrap:SpendingAlert",
    }


@pytest.mark.parametrize("protect", [True, False])
def test_what_can_not_be_had_back_is_protected(protect: bool) -> None:
    declared = program(protect=protect)
    protected = {(short(each.type), each.name) for each in declared.resources if each.protect}
    lasting = {("s3.Bucket", "state"), ("kms.Key", "state"), ("iam.OpenIdConnectProvider", "github")}
    assert protected == (lasting if protect else set())


def test_the_key_is_rotated_and_slow_to_go() -> None:
    declared = program()
    key = declared.one("kms.Key")
    assert {name: value for name, value in key.inputs.items() if name != "policy"} == {
        "description": "Pulumi state and secrets of bluegreen",
        "enableKeyRotation": True,
        "deletionWindowInDays": 30,
        "tags": {"Stack": "account"},
    }
    assert document(key) == ci_policies.key_policy(OWN)
    assert declared.one("kms.Alias").inputs["name"] == "alias/bluegreen-state"


def test_the_bucket_is_private_encrypted_with_the_key_and_versioned() -> None:
    declared = program()
    assert declared.one("s3.Bucket").inputs == {"bucketPrefix": "bluegreen-state-", "tags": {"Stack": "account"}}
    assert declared.one("s3.BucketPublicAccessBlock").inputs == {
        "bucket": "s3.Bucket:state",
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert declared.one("s3.BucketOwnershipControls").inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    assert declared.one("s3.BucketServerSideEncryptionConfiguration").inputs["rules"] == [
        {
            "applyServerSideEncryptionByDefault": {
                "sseAlgorithm": "aws:kms",
                "kmsMasterKeyId": declared.one("kms.Key").arn,
            },
            "bucketKeyEnabled": True,
        }
    ]
    assert declared.one("s3.BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    (denied,) = document(declared.one("s3.BucketPolicy"))["Statement"]
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_old_state_goes_after_a_while() -> None:
    assert program().one("s3.BucketLifecycleConfiguration").inputs["rules"] == [
        {
            "id": "old-versions",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrentVersionExpiration": {"noncurrentDays": 90},
            "expiration": {"expiredObjectDeleteMarker": True},
            "abortIncompleteMultipartUpload": {"daysAfterInitiation": 2},
        }
    ]


def test_github_is_believed_for_tokens_that_are_made_for_aws() -> None:
    assert program().one("iam.OpenIdConnectProvider").inputs == {
        "url": "https://token.actions.githubusercontent.com",
        "clientIdLists": ["sts.amazonaws.com"],
        "tags": {"Stack": "account"},
    }


def test_the_boundary_is_found_where_it_says_that_it_is() -> None:
    declared = program()
    policy = declared.one("iam.Policy")
    assert (policy.inputs["name"], policy.inputs["path"]) == ("bluegreen-boundary", "/bluegreen-ci/")
    assert f"arn:aws:iam::{ACCOUNT}:policy/bluegreen-ci/bluegreen-boundary" == OWN.boundary_arn
    assert document(policy) == ci_policies.boundary(OWN, backend(declared))


def test_the_deploying_role_is_bounded_and_belongs_to_environments() -> None:
    declared = program(repositoryOwnerId=7, repositoryId=8, environments=["live"])
    role = declared.one("iam.Role", "deploy")
    assert (role.inputs["name"], role.inputs["path"]) == ("bluegreen-deploy", "/bluegreen-ci/")
    assert role.inputs["permissionsBoundary"] == declared.one("iam.Policy").arn
    asked = ["repo:Acme/shop:environment:live", "repo:Acme@7/shop@8:environment:live"]
    provider = declared.one("iam.OpenIdConnectProvider").arn
    assert document(role, "assumeRolePolicy") == ci_policies.trust(provider, asked)
    assert document(declared.one("iam.RolePolicy", "deploy")) == ci_policies.deploy(OWN, backend(declared))


def test_the_previewing_role_belongs_to_pull_requests_and_the_branch() -> None:
    declared = program(oidcProviderArn=GITHUB, branch="trunk")
    role = declared.one("iam.Role", "preview")
    assert (role.inputs["name"], role.inputs["path"]) == ("bluegreen-preview", "/bluegreen-ci/")
    asked = subjects.preview_subjects(Repository(owner="Acme", name="shop"), "trunk")
    assert document(role, "assumeRolePolicy") == ci_policies.trust(GITHUB, asked)
    assert document(declared.one("iam.RolePolicy", "preview")) == ci_policies.preview(OWN, backend(declared))


def test_an_existing_provider_is_not_made_again() -> None:
    assert program(oidcProviderArn=GITHUB).all("iam.OpenIdConnectProvider") == {}


def test_the_budget_tells_everybody_before_and_when() -> None:
    emails = ["ops@example.org", "boss@example.org"]
    inputs = program(budgetLimit=250, alertEmails=emails).one("budgets.Budget").inputs
    assert (inputs["name"], inputs["limitAmount"], inputs["limitUnit"]) == ("bluegreen-monthly", "250", "USD")
    assert (inputs["budgetType"], inputs["timeUnit"]) == ("COST", "MONTHLY")
    assert inputs["notifications"] == [
        {
            "notificationType": kind,
            "comparisonOperator": "GREATER_THAN",
            "threshold": percent,
            "thresholdType": "PERCENTAGE",
            "subscriberEmailAddresses": emails,
        }
        for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
    ]


def test_without_a_limit_there_is_no_budget() -> None:
    assert program(budgetLimit=0, alertEmails=[]).all("budgets.Budget") == {}


def test_what_workflows_and_stacks_are_told() -> None:
    declared = program()
    key, roles = declared.one("kms.Key"), declared.all("iam.Role")
    assert declared.outputs == {
        "region": REGION,
        "backendUrl": f"s3://state-1a2b?region={REGION}&awssdk=v2",
        "secretsProvider": f"awskms:///{key.arn}?region={REGION}",
        "previewRoleArn": roles["preview"].arn,
        "deployRoleArn": roles["deploy"].arn,
        "permissionsBoundaryArn": declared.one("iam.Policy").arn,
    }


def test_two_projects_can_share_an_account() -> None:
    declared = program(project="shop")
    names = {each.inputs["name"] for each in declared.resources if each.custom and "name" in each.inputs}
    assert names == {"shop-boundary", "shop-preview", "shop-deploy", "shop-monthly", "alias/shop-state"}
    assert declared.one("s3.Bucket").inputs["bucketPrefix"] == "shop-state-"


def test_whatever_can_be_tagged_names_its_stack() -> None:
    tagged = [each for each in program().resources if "tags" in each.inputs]
    assert len(tagged) == 7
    assert all(each.inputs["tags"]["Stack"] == "account" for each in tagged)


def test_bad_config_stops_the_program_before_it_registers_anything() -> None:
    seen = Declaration()
    with pytest.raises(pulumi.RunError):
        program(into=seen, repository="shop")
    assert {each.type for each in seen.resources} <= {STACK_TYPE}
