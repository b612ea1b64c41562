from __future__ import annotations

import json
from dataclasses import replace

import pulumi
import pytest

from components import policy_documents
from components.alerts import Topic
from components.instance_role import InstanceRole
from tests.declared import ACCOUNT, CONTEXT, Declaration, declare

TOPIC = Topic(arn="arn:topic", key_arn="arn:key")


def role(repository_arn: str = "", boundary: str = "") -> Declaration:
    def program() -> None:
        made = InstanceRole(
            "machine",
            replace(CONTEXT, boundary=boundary),
            bucket_arn="arn:bucket",
            topic=TOPIC,
            repository_arn=repository_arn,
        )
        pulumi.CustomResource("test:index:Reader", "reader", {"profile": made.profile_arn})

    return declare(program)


def test_machines_take_the_role_by_its_profile() -> None:
    declared = role()
    assert declared.table() - {("test.Reader", "reader")} == {
        ("iam.Role", "machine"),
        ("iam.RolePolicy", "machine"),
        ("iam.InstanceProfile", "machine"),
    }
    assert json.loads(declared.one("iam.Role").inputs["assumeRolePolicy"]) == policy_documents.assumed_by(
        "ec2.amazonaws.com"
    )
    assert declared.one("iam.InstanceProfile").inputs == {
        "path": "/bluegreen/dev/",
        "role": "machine",
        "tags": {"Stack": "dev"},
    }


@pytest.mark.parametrize("repository", ["", "arn:repository"])
def test_the_role_has_the_machines_policy_and_no_other(repository: str) -> None:
    declared = role(repository_arn=repository)
    expected = policy_documents.instance(
        CONTEXT, bucket_arn="arn:bucket", topic_arn="arn:topic", key_arn="arn:key", repository_arn=repository
    )
    assert json.loads(declared.one("iam.RolePolicy").inputs["policy"]) == expected
    assert "managedPolicyArns" not in declared.one("iam.Role").inputs


@pytest.mark.parametrize("boundary", ["", f"arn:aws:iam::{ACCOUNT}:policy/limit"])
def test_the_role_is_bounded_by_the_given_policy(boundary: str) -> None:
    given = role(boundary=boundary).one("iam.Role").inputs
    assert {key: given[key] for key in given.keys() - {"assumeRolePolicy", "tags"}} == {
        "path": "/bluegreen/dev/",
        **({"permissionsBoundary": boundary} if boundary else {}),
    }


def test_who_gets_the_profile_waits_for_the_policy() -> None:
    declared = role()
    reader = declared.one("test.Reader")
    assert declared.one("iam.RolePolicy").urn in reader.dependencies
    assert reader.inputs == {"profile": declared.one("iam.InstanceProfile").arn}
