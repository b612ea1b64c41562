from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi

from components.private_bucket import bucket_policy, lifecycle, private_bucket, rule
from tests.declared import CONTEXT, Declaration, declare

STATEMENT: dict[str, Any] = {"Sid": "In", "Effect": "Allow"}


class Holder(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("test:index:Holder", "holder")
        bucket = private_bucket("it", self, replace(CONTEXT, protect=True))
        lifecycle("it", self, bucket, [rule("first")])
        bucket_policy("it", self, bucket, lambda arn: [STATEMENT | {"Resource": arn}])


def holder() -> Declaration:
    return declare(Holder)


def test_all_of_it_stands_under_one_parent_and_only_the_bucket_is_protected() -> None:
    declared = holder()
    parents = {each.parent.rpartition("::")[2] for each in declared.resources if each.custom}
    assert parents == {"holder"}
    assert {each.type.rpartition(":")[2] for each in declared.resources if each.protect} == {"Bucket"}


def test_a_lifecycle_always_clears_unfinished_uploads_away() -> None:
    rules = holder().one("s3.BucketLifecycleConfiguration").inputs["rules"]
    assert [each["id"] for each in rules] == ["first", "unfinished-uploads"]


def test_whoever_sends_is_let_in_beside_the_denial() -> None:
    declared = holder()
    statements = json.loads(declared.one("s3.BucketPolicy").inputs["policy"])["Statement"]
    assert [each["Sid"] for each in statements] == ["TlsOnly", "In"]
    assert statements[1]["Resource"] == declared.one("s3.Bucket").arn
