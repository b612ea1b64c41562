from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.service_role import service_role
from tests.declared import CONTEXT, Declaration, declare

TRUST, POLICY = {"Version": "2012-10-17", "Statement": []}, {"Version": "2012-10-17", "Statement": [{"Sid": "May"}]}


def role(boundary: str = "") -> Declaration:
    def program() -> None:
        arn = service_role(
            "sender", replace(CONTEXT, boundary=boundary), trust=TRUST, policy=POLICY, opts=pulumi.ResourceOptions()
        )
        pulumi.CustomResource("test:index:Reader", "reader", {"role": arn})

    return declare(program)


@pytest.mark.parametrize(("boundary", "more"), [("", {}), ("arn:limit", {"permissionsBoundary": "arn:limit"})])
def test_a_role_with_its_policy(boundary: str, more: dict[str, Any]) -> None:
    declared = role(boundary)
    inputs = dict(declared.one("iam.Role").inputs)
    assert json.loads(inputs.pop("assumeRolePolicy")) == TRUST
    assert inputs == {"path": "/bluegreen/dev/", "tags": {"Stack": "dev"}, **more}
    granted = declared.one("iam.RolePolicy").inputs
    assert (granted["role"], json.loads(granted["policy"])) == (declared.one("iam.Role").id, POLICY)


def test_whoever_gets_it_waits_for_the_policy() -> None:
    declared = role()
    reader = declared.one("test.Reader")
    assert reader.inputs == {"role": declared.one("iam.Role").arn}
    assert declared.one("iam.RolePolicy").urn in reader.dependencies
