from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from policy.rules import RULES, UNKNOWN, Resource, RuleViolation, check
from policy.stack import UNKNOWN_PLACEHOLDERS
from tests.declared import ACCOUNT, REGION
from tests.policy.stacks import registered, resource

BLUE: dict[str, Any] = {
    "release": "v1",
    "releaseUrl": "s3://artifacts-1a2b/releases/v1/bundle.tar.gz",
    "sha256": "0123456789abcdef" * 4,
    "amiId": "ami-0123456789abcdef0",
}
GREEN = BLUE | {"release": "v2", "releaseUrl": "s3://artifacts-1a2b/releases/v2/bundle.tar.gz"}
COLORS: dict[str, Any] = {"blue": BLUE, "green": GREEN}
WITH_NAME: dict[str, Any] = {
    "domain": "app.example.org",
    "certificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1a2b",
}
BASE = {"baseImage": f"docker.io/library/python@sha256:{'ab' * 32}"}
TAGS = {"Stack": "dev", "Project": "bluegreen", "ManagedBy": "pulumi"}
BUCKET = "aws:s3/bucket:Bucket"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
BUCKET_ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
ALL_BLOCKS: dict[str, Any] = {
    "blockPublicAcls": True,
    "blockPublicPolicy": True,
    "ignorePublicAcls": True,
    "restrictPublicBuckets": True,
}
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
GROUP = "aws:autoscaling/group:Group"
VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
BALANCER, LISTENER = "aws:lb/loadBalancer:LoadBalancer", "aws:lb/listener:Listener"
SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
RULE, TARGETS = "aws:lb/listenerRule:ListenerRule", "aws:lb/targetGroup:TargetGroup"

pytestmark = pytest.mark.usefixtures("offline")


def told(rule: str, *resources: Resource, protected: bool = False) -> list[str]:
    """The messages of one rule."""
    return [each.message for each in check(resources, protected=protected) if each.rule == rule]


# The real program.


@pytest.mark.parametrize(("stack", "protected"), [("dev", False), ("prod", True)])
@pytest.mark.parametrize("values", [{}, COLORS, COLORS | WITH_NAME, COLORS | BASE], ids=["new", "on", "named", "based"])
def test_the_committed_stacks_keep_every_rule(stack: str, protected: bool, values: dict[str, Any]) -> None:
    resources = registered(stack, **values)
    assert len(resources) > 40
    assert check(resources, protected=protected) == []


def test_dev_would_not_do_as_production() -> None:
    broken = {each.rule for each in check(registered("dev", **COLORS), protected=True)}
    assert broken == {"deletion-protection"}


@pytest.mark.parametrize("text", [UNKNOWN, *sorted(UNKNOWN_PLACEHOLDERS)], ids=str)
def test_what_a_preview_does_not_know_breaks_no_rule(text: Any) -> None:
    """Each property alone, and each entry of each list and object, of the whole program."""
    resources = registered("prod", **COLORS)
    everything = [replace(each, props=dict.fromkeys(each.props, text)) for each in resources]
    assert check(everything, protected=True) == []


def test_no_single_unknown_value_breaks_a_rule() -> None:
    resources = registered("prod", **COLORS)
    seen = 0
    for place, each in enumerate(resources):
        for props in with_one_unknown(each.props):
            changed = [*resources[:place], replace(each, props=props), *resources[place + 1 :]]
            assert check(changed, protected=True) == [], (each.urn, props)
            seen += 1
    assert seen > 500


def with_one_unknown(value: Any) -> Iterator[Any]:
    """Copies of a nested value in which one of the values below is unknown."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield {**value, key: UNKNOWN}
            yield from ({**value, key: changed} for changed in with_one_unknown(inner))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            for changed in (UNKNOWN, *with_one_unknown(inner)):
                yield [*value[:place], changed, *value[place + 1 :]]


def test_rules_have_names_and_sentences_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.name == rule.name.lower().replace(" ", "-").replace("_", "-")
        assert rule.description.endswith(".")


def test_a_violation_names_rule_resource_and_value() -> None:
    topic = resource("aws:sns/topic:Topic", tags=TAGS)
    assert check([topic], protected=False) == [
        RuleViolation(
            rule="topic-encryption",
            urn=topic.urn,
            message="kmsMasterKeyId is not set; allowed is the id, ARN or alias of a key",
        )
    ]


# Exposure.


def bucket(**props: Any) -> Resource:
    return resource(BUCKET, **{"id": "shop-1a2b", "tags": TAGS, **props})


def test_a_bucket_with_all_four_blocks_is_good() -> None:
    assert told("public-access-block", bucket(), resource(BLOCK, bucket="shop-1a2b", **ALL_BLOCKS)) == []


def test_in_a_preview_the_dependency_says_whose_block_it_is() -> None:
    new = bucket(id=UNKNOWN)
    policy = resource("aws:s3/bucketPolicy:BucketPolicy", on=(new,), bucket=UNKNOWN)
    assert told("public-access-block", new, policy, resource(BLOCK, on=(policy,), bucket=UNKNOWN, **ALL_BLOCKS)) == []


@pytest.mark.parametrize("others", [[], [resource(BLOCK, bucket="another", **ALL_BLOCKS)]])
def test_a_bucket_without_block_is_not(others: list[Resource]) -> None:
    message = "there is no public access block for the bucket; allowed is a bucket with one"
    assert told("public-access-block", bucket(), *others) == [message]


@pytest.mark.parametrize("key", ALL_BLOCKS)
@pytest.mark.parametrize(("value", "shown"), [(False, "false"), (None, "not set")])
def test_a_block_with_a_hole_is_not(key: str, value: bool | None, shown: str) -> None:
    block = resource(BLOCK, bucket="shop-1a2b", **(ALL_BLOCKS | {key: value}))
    assert told("public-access-block", bucket(), block) == [f"{key} is {shown}; allowed is true"]


@pytest.mark.parametrize("acl", ["private", "log-delivery-write", "bucket-owner-full-control", None])
def test_acls_of_the_account_are_good(acl: str | None) -> None:
    assert told("public-acl", bucket(acl=acl)) == []


@pytest.mark.parametrize("acl", ["public-read", "public-read-write", "authenticated-read"])
def test_public_acls_are_not(acl: str) -> None:
    found = told("public-acl", resource("aws:s3/bucketAcl:BucketAcl", bucket="shop-1a2b", acl=acl))
    assert found == [f"acl is {acl}; allowed are ACLs for the account's own use, such as private"]


def bucket_policy(**statement: Any) -> Resource:
    document = {"Statement": [{"Sid": "Mine", "Effect": "Allow", "Action": "s3:GetObject", **statement}]}
    return resource("aws:s3/bucketPolicy:BucketPolicy", policy=json.dumps(document))


@pytest.mark.parametrize(
    "statement",
    [
        {"Principal": {"Service": "logging.s3.amazonaws.com"}},
        {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}},
        {"Principal": "*", "Effect": "Deny"},
        {"Principal": "*", "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}},
        {"Principal": {"AWS": "*"}, "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::shop"}}},
    ],
)
def test_policies_for_somebody_are_good(statement: dict[str, Any]) -> None:
    assert told("public-principal", bucket_policy(**statement)) == []


@pytest.mark.parametrize(
    "statement",
    [
        {"Principal": "*"},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": [f"arn:aws:iam::{ACCOUNT}:root", "*"]}},
        {"NotPrincipal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}},
        {"Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {"Principal": "*", "Condition": {"StringNotEquals": {"aws:SourceAccount": ACCOUNT}}},
        {"Principal": "*", "Condition": {"StringLike": {"aws:SourceAccount": "*"}}},
    ],
)
def test_policies_for_everybody_are_not(statement: dict[str, Any]) -> None:
    assert told("public-principal", bucket_policy(**statement)) == [
        "statement Mine allows principal *; "
        "allowed are named principals, or a condition on the source's account, organization, ARN or VPC"
    ]


def test_a_role_for_everybody_is_not_allowed_either() -> None:
    trust = {"Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}}
    role = resource("aws:iam/role:Role", assumeRolePolicy=json.dumps(trust))
    assert [message.partition(";")[0] for message in told("public-principal", role)] == [
        "statement not set allows principal *"
    ]


@pytest.mark.parametrize(
    "options", [{"httpTokens": "required"}, {"httpEndpoint": "disabled"}, {"httpTokens": UNKNOWN}, UNKNOWN]
)
def test_credentials_by_imdsv2_or_not_at_all_are_good(options: Any) -> None:
    assert told("instance-metadata", resource(TEMPLATE, metadataOptions=options)) == []


@pytest.mark.parametrize(
    ("props", "shown"),
    [({}, "not set"), ({"metadataOptions": {"httpTokens": "optional"}}, "optional")],
)
def test_credentials_by_imdsv1_are_not(props: dict[str, Any], shown: str) -> None:
    message = f"metadataOptions.httpTokens is {shown}; allowed is required (IMDSv2)"
    assert told("instance-metadata", resource(TEMPLATE, **props)) == [message]
    assert told("instance-metadata", resource("aws:ec2/instance:Instance", **props)) == [message]


def front(*, known: bool = True) -> list[Resource]:
    """A balancer with its group and a listener on 443, and another group."""
    group = resource(SECURITY_GROUP, "front", id="sg-front" if known else UNKNOWN)
    machines = resource(SECURITY_GROUP, "machines", id="sg-machines" if known else UNKNOWN)
    arn = "arn:web" if known else UNKNOWN
    balancer = resource(BALANCER, on=(group,), arn=arn, id=arn, securityGroups=[group.props["id"]])
    return [group, machines, balancer, resource(LISTENER, on=(balancer,), port=443, loadBalancerArn=arn)]


def ingress(group: Resource, **props: Any) -> Resource:
    usual: dict[str, Any] = {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "cidrIpv4": "0.0.0.0/0"}
    return resource(INGRESS, on=(group,), securityGroupId=group.props["id"], **(usual | props))


@pytest.mark.parametrize("known", [True, False])
def test_the_world_may_come_to_the_balancers_listener(known: bool) -> None:
    group, *others = front(known=known)
    assert told("open-ingress", group, *others, ingress(group)) == []
    assert told("open-ingress", group, *others, ingress(group, cidrIpv4=None, cidrIpv6="::/0")) == []


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("props", "what"),
    [
        ({"fromPort": 22, "toPort": 22}, "0.0.0.0/0 is allowed in on tcp 22"),
        ({"fromPort": 0}, "0.0.0.0/0 is allowed in on tcp 0 to 443"),
        ({"ipProtocol": "udp"}, "0.0.0.0/0 is allowed in on udp 443"),
        ({"ipProtocol": "-1", "fromPort": None, "toPort": None}, "0.0.0.0/0 is allowed in on -1 not set"),
        ({"fromPort": 22, "toPort": 22, "cidrIpv4": None, "cidrIpv6": "0::/0"}, "0::/0 is allowed in on tcp 22"),
    ],
)
def test_but_to_no_other_port_of_it(known: bool, props: dict[str, Any], what: str) -> None:
    group, *others = front(known=known)
    found = told("open-ingress", group, *others, ingress(group, **props))
    assert found == [f"{what}; allowed is tcp on a port of the load balancer's listeners (443)"]


@pytest.mark.parametrize("known", [True, False])
def test_the_world_may_not_come_to_machines(known: bool) -> None:
    stack = front(known=known)
    assert told("open-ingress", *stack, ingress(stack[1])) == [
        "0.0.0.0/0 is allowed in on tcp 443; "
        "allowed are ranges of your own, or another security group: only the load balancer is open to all"
    ]
    assert told("open-ingress", *stack, ingress(stack[1], cidrIpv4="10.0.0.0/8")) == []


SSH: dict[str, Any] = {"protocol": "tcp", "fromPort": 22, "toPort": 22}


@pytest.mark.parametrize(
    "it",
    [
        resource(SECURITY_GROUP, ingress=[SSH | {"cidrBlocks": ["0.0.0.0/0"]}]),
        resource(
            "aws:ec2/securityGroupRule:SecurityGroupRule",
            type="ingress",
            ipv6CidrBlocks=["fd00::/8", "::/0"],
            **SSH,
        ),
    ],
)
def test_other_ways_to_open_a_port_count_as_well(it: Resource) -> None:
    (message,) = told("open-ingress", it)
    assert "/0 is allowed in on tcp 22; allowed are ranges of your own" in message


def test_ways_out_may_be_open() -> None:
    out = resource(
        "aws:ec2/securityGroupRule:SecurityGroupRule", type="egress", protocol="-1", cidrBlocks=["0.0.0.0/0"]
    )
    assert told("open-ingress", out) == []


# Encryption.


def encryption_of(name: Any, algorithm: Any) -> Resource:
    rule = {"applyServerSideEncryptionByDefault": {"sseAlgorithm": algorithm}}
    return resource(BUCKET_ENCRYPTION, bucket=name, rules=[rule])


@pytest.mark.parametrize("algorithm", ["AES256", "aws:kms", "aws:kms:dsse", UNKNOWN])
def test_encrypted_buckets_are_good(algorithm: Any) -> None:
    assert told("bucket-encryption", bucket(), encryption_of("shop-1a2b", algorithm)) == []


def test_buckets_without_encryption_are_not() -> None:
    missing = "there is no encryption configuration for the bucket; allowed is a bucket with one"
    assert told("bucket-encryption", bucket()) == [missing]
    assert told("bucket-encryption", bucket(), encryption_of("another", "AES256")) == [missing]
    assert told("bucket-encryption", bucket(), encryption_of("shop-1a2b", "ROT13")) == [
        "sseAlgorithm is ROT13; allowed are AES256, aws:kms, aws:kms:dsse"
    ]


@pytest.mark.parametrize(
    "mappings", [[{"deviceName": "/dev/xvda", "ebs": {"encrypted": "true"}}, {"virtualName": "ephemeral0"}], UNKNOWN]
)
def test_encrypted_volumes_are_good(mappings: Any) -> None:
    assert told("volume-encryption", resource(TEMPLATE, blockDeviceMappings=mappings)) == []
    assert told("volume-encryption", resource("aws:ebs/volume:Volume", encrypted=True)) == []


@pytest.mark.parametrize(
    ("it", "message"),
    [
        (resource(TEMPLATE), "blockDeviceMappings is not set; allowed is a template that encrypts its root volume"),
        (
            resource(TEMPLATE, blockDeviceMappings=[{"deviceName": "/dev/xvda", "ebs": {"encrypted": "false"}}]),
            "ebs.encrypted of /dev/xvda is false; allowed is true",
        ),
        (
            resource(TEMPLATE, blockDeviceMappings=[{"deviceName": "/dev/xvda", "ebs": {"volumeSize": 8}}]),
            "ebs.encrypted of /dev/xvda is not set; allowed is true",
        ),
        (resource("aws:ebs/volume:Volume"), "encrypted is not set; allowed is true"),
        (resource("aws:rds/instance:Instance", storageEncrypted=False), "storageEncrypted is false; allowed is true"),
    ],
)
def test_volumes_in_the_clear_are_not(it: Resource, message: str) -> None:
    assert told("volume-encryption", it) == [message]


@pytest.mark.parametrize("key", ["alias/aws/sns", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1a2b", UNKNOWN])
def test_topics_with_any_key_are_good(key: Any) -> None:
    assert told("topic-encryption", resource("aws:sns/topic:Topic", kmsMasterKeyId=key)) == []


@pytest.mark.parametrize("props", [{}, {"kmsMasterKeyId": ""}])
def test_topics_without_one_are_not(props: dict[str, Any]) -> None:
    message = "kmsMasterKeyId is not set; allowed is the id, ARN or alias of a key"
    assert told("topic-encryption", resource("aws:sns/topic:Topic", **props)) == [message]


PARAMETER = "aws:ssm/parameter:Parameter"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("/shop/token", "SecureString"), ("/shop/tokenizer", "String"), ("/shop/size", "String"), (UNKNOWN, "String")],
)
def test_secrets_in_secure_strings_are_good(name: Any, kind: str) -> None:
    assert told("secret-parameters", resource(PARAMETER, name=name, type=kind)) == []


@pytest.mark.parametrize("name", ["/shop/preview-token", "/shop/DB_PASSWORD", "/shop/api_key", "/shop/client-secrets"])
def test_secrets_in_plain_strings_are_not(name: str) -> None:
    assert told("secret-parameters", resource(PARAMETER, name=name, type="String")) == [
        f"type of {name} is String; allowed is SecureString for what its name calls secret"
    ]


# Permissions.


def role_policy(**statement: Any) -> Resource:
    document = {"Statement": [{"Sid": "Mine", "Effect": "Allow", **statement}]}
    return resource("aws:iam/rolePolicy:RolePolicy", policy=json.dumps(document))


OWN = "arn:aws:s3:::shop/*"
NAMESPACE = {"StringEquals": {"cloudwatch:namespace": "bluegreen"}}


@pytest.mark.parametrize(
    "statement",
    [
        {"Action": "s3:GetObject", "Resource": OWN},
        {"Action": "*", "Resource": "*", "Effect": "Deny"},
        {"Action": ["autoscaling:DescribeAutoScalingInstances", "ec2:DescribeTags"], "Resource": "*"},
        {"Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {"Action": "cloudwatch:PutMetricData", "Resource": "*", "Condition": NAMESPACE},
    ],
)
def test_permissions_by_name_are_good(statement: dict[str, Any]) -> None:
    assert told("wildcard-permissions", role_policy(**statement)) == []


WITHOUT_REASON = "allowed are ARNs, or actions and conditions that policy/permissions.py lists"


@pytest.mark.parametrize(
    ("statement", "problems"),
    [
        ({"Action": "s3:*", "Resource": OWN}, ["allows action s3:*; allowed are actions by name"]),
        ({"Action": ["s3:GetObject", "*"], "Resource": OWN}, ["allows action *; allowed are actions by name"]),
        (
            {"NotAction": "iam:*", "Resource": OWN},
            ["allows all but what NotAction lists; allowed are lists of actions and resources"],
        ),
        (
            {"Action": "s3:GetObject", "NotResource": OWN},
            ["allows all but what NotResource lists; allowed are lists of actions and resources"],
        ),
        ({"Action": "s3:GetObject", "Resource": "*"}, [f"allows s3:GetObject on *; {WITHOUT_REASON}"]),
        (
            {"Action": ["ec2:DescribeTags", "ec2:RunInstances"], "Resource": [OWN, "*"]},
            [f"allows ec2:RunInstances on *; {WITHOUT_REASON}"],
        ),
        (
            {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::*"},
            [f"allows s3:GetObject on arn:aws:s3:::*; {WITHOUT_REASON}"],
        ),
        (
            {"Action": "cloudwatch:PutMetricData", "Resource": "*"},
            [f"allows cloudwatch:PutMetricData on *; {WITHOUT_REASON}"],
        ),
        (
            {
                "Action": "cloudwatch:PutMetricData",
                "Resource": "*",
                "Condition": {"StringLike": {"cloudwatch:namespace": "*"}},
            },
            [f"allows cloudwatch:PutMetricData on *; {WITHOUT_REASON}"],
        ),
    ],
)
def test_permissions_by_wildcard_are_not(statement: dict[str, Any], problems: list[str]) -> None:
    assert told("wildcard-permissions", role_policy(**statement)) == [f"statement Mine {each}" for each in problems]


ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"


@pytest.mark.parametrize("arn", ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole", UNKNOWN])
def test_narrow_attachments_are_good(arn: Any) -> None:
    assert told("broad-attachments", resource(ATTACHMENT, policyArn=arn)) == []


@pytest.mark.parametrize("name", ["AdministratorAccess", "PowerUserAccess", "AmazonS3FullAccess"])
def test_broad_attachments_are_not(name: str) -> None:
    arn = f"arn:aws:iam::aws:policy/{name}"
    assert told("broad-attachments", resource(ATTACHMENT, policyArn=arn)) == [
        f"policyArn is {arn}; allowed are policies that name actions and resources"
    ]


# Keeping.


@pytest.mark.parametrize(
    "props",
    [{"tags": TAGS}, {"tags": {"Stack": "dev"}, "tagsAll": TAGS}, {"tags": {"Stack": UNKNOWN}, "tagsAll": UNKNOWN}],
)
def test_tagged_resources_are_good(props: dict[str, Any]) -> None:
    assert told("required-tags", resource(VPC, **props)) == []


@pytest.mark.parametrize(
    ("it", "absent"),
    [
        (resource(VPC), "Stack, Project, ManagedBy"),
        (resource(VPC, tags={"Stack": "dev"}), "Project, ManagedBy"),
        (resource(VPC, tags=TAGS | {"Project": ""}), "Project"),
        (resource("aws:lambda/function:Function", tagsAll={"Stack": "dev", "Project": "x"}), "ManagedBy"),
    ],
)
def test_untagged_resources_are_not(it: Resource, absent: str) -> None:
    message = f"tags lack {absent}; allowed is a resource with Stack, Project, ManagedBy"
    assert told("required-tags", it) == [message]


def test_what_has_no_tags_in_aws_needs_none() -> None:
    assert told("required-tags", resource("aws:ec2/route:Route"), resource("bluegreen:network:Network")) == []
    # It goes with its group.
    assert told("required-tags", resource(INGRESS, tagsAll={"Project": "bluegreen"})) == []


def group_tags(tags: Mapping[str, Any], propagated: Any = True) -> list[dict[str, Any]]:
    return [{"key": key, "value": value, "propagateAtLaunch": propagated} for key, value in tags.items()]


def test_tags_that_reach_machines_are_good() -> None:
    kinds = [{"resourceType": kind, "tags": TAGS} for kind in ("instance", "volume")]
    assert told("required-tags", resource(GROUP, tags=group_tags(TAGS))) == []
    assert told("required-tags", resource(TEMPLATE, tags=TAGS, tagSpecifications=kinds)) == []
    assert told("required-tags", resource(TEMPLATE, tags=TAGS, tagSpecifications=[*kinds[:1], UNKNOWN])) == []


def test_tags_that_end_at_the_group_are_not() -> None:
    assert told("required-tags", resource(GROUP, tags=group_tags({"Stack": "dev"}))) == [
        "tags of the group lack Project, ManagedBy; allowed is a resource with Stack, Project, ManagedBy"
    ]
    assert told("required-tags", resource(GROUP, tags=group_tags(TAGS, propagated=False))) == [
        f"propagateAtLaunch of tag {tag} is false; allowed is true" for tag in TAGS
    ]


def test_machines_and_volumes_without_tags_are_not_allowed() -> None:
    kinds = [{"resourceType": "instance", "tags": {"Stack": "dev"}}]
    assert told("required-tags", resource(TEMPLATE, tags=TAGS, tagSpecifications=kinds)) == [
        "tags of each instance lack Project, ManagedBy; allowed is a resource with Stack, Project, ManagedBy",
        "tags of each volume lack Stack, Project, ManagedBy; allowed is a resource with Stack, Project, ManagedBy",
    ]


LOGS = "aws:cloudwatch/logGroup:LogGroup"


@pytest.mark.parametrize("days", [1, 3653, UNKNOWN])
def test_logs_that_are_forgotten_some_day_are_good(days: Any) -> None:
    assert told("log-retention", resource(LOGS, retentionInDays=days)) == []


@pytest.mark.parametrize(("props", "shown"), [({}, "not set"), ({"retentionInDays": 0}, "0")])
def test_logs_that_are_kept_for_ever_are_not(props: dict[str, Any], shown: str) -> None:
    message = f"retentionInDays is {shown}; allowed is a number of days, else log events never expire"
    assert told("log-retention", resource(LOGS, **props)) == [message]


def test_what_holds_state_is_protected_in_a_protected_stack() -> None:
    good = [
        resource(VPC, protect=True),
        resource(BUCKET, protect=True, forceDestroy=False),
        resource(BALANCER, protect=True, enableDeletionProtection=True),
    ]
    assert told("deletion-protection", *good, protected=True) == []


@pytest.mark.parametrize(
    ("it", "message"),
    [
        (resource(VPC), "protect is false; allowed is true in a protected stack"),
        (resource(BUCKET), "protect is false; allowed is true in a protected stack"),
        (
            resource(BUCKET, protect=True, forceDestroy=True),
            "forceDestroy is true; allowed is false in a protected stack",
        ),
        (
            resource(BALANCER, protect=True),
            "enableDeletionProtection is not set; allowed is true in a protected stack",
        ),
        (
            resource(BALANCER, enableDeletionProtection=True),
            "protect is false; allowed is true in a protected stack",
        ),
    ],
)
def test_what_can_be_lost_is_allowed_elsewhere_only(it: Resource, message: str) -> None:
    assert told("deletion-protection", it, protected=True) == [message]
    assert told("deletion-protection", it) == []


def subnets(*letters: str, known: bool = True) -> list[Resource]:
    return [
        resource(
            SUBNET, f"{place}{letter}", id=f"subnet-{place}" if known else UNKNOWN, availabilityZone=f"{REGION}{letter}"
        )
        for place, letter in enumerate(letters)
    ]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("type_", "key"), [(BALANCER, "subnets"), (GROUP, "vpcZoneIdentifiers")])
def test_two_zones_are_good_and_one_is_not(type_: str, key: str, known: bool) -> None:
    def over(places: Sequence[Resource]) -> Resource:
        ids: dict[str, Any] = {key: [each.props["id"] for each in places] if known else UNKNOWN}
        return resource(type_, on=tuple(places), **ids)

    two, one = subnets("a", "b", known=known), subnets("a", "a", known=known)
    assert told("zones", *two, over(two), protected=True) == []
    assert told("zones", *one, over(one)) == []
    assert told("zones", *one, over(one), protected=True) == [
        f"{key} are in zone {REGION}a; allowed are 2 zones or more in a protected stack"
    ]


def test_subnets_of_elsewhere_are_not_judged() -> None:
    (own,) = subnets("a")
    assert told("zones", own, resource(BALANCER, subnets=["subnet-0", "subnet-far"]), protected=True) == []


# Traffic.


def forward(*weights: Any, arns: Sequence[Any] = ("arn:blue", "arn:green"), **more: Any) -> Resource:
    groups = [{"arn": arn, "weight": weight} for arn, weight in zip(arns, weights, strict=True)]
    return resource(RULE, tags=TAGS, actions=[{"type": "forward", "forward": {"targetGroups": groups, **more}}])


@pytest.mark.parametrize("weights", [(100, 0), (0, 100), (95, 5), (UNKNOWN, 0), (UNKNOWN, UNKNOWN)])
def test_forwards_to_both_colors_are_good(weights: tuple[Any, Any]) -> None:
    assert told("both-colors", forward(*weights)) == []
    assert told("both-colors", forward(*weights, arns=(UNKNOWN, UNKNOWN))) == []


def test_answers_without_a_group_are_good() -> None:
    assert told("both-colors", resource(LISTENER, defaultActions=[{"type": "fixed-response"}])) == []


def test_forwards_to_one_color_are_not() -> None:
    one = "the forward's target groups are 1; allowed are 2, one for each color"
    assert told("both-colors", forward(100, arns=("arn:blue",))) == [one]
    assert told("both-colors", forward(50, 50, arns=("arn:blue", "arn:blue"))) == [one]
    assert told("both-colors", forward(0, 0)) == ["the weights are 0, 0; allowed is a sum above 0"]
    short = resource(LISTENER, defaultActions=[{"type": "forward", "targetGroupArn": "arn:blue"}])
    assert told("both-colors", short) == ["the forward's target groups are 1; allowed are 2, one for each color"]


def test_users_who_are_free_to_move_are_good() -> None:
    assert told("stickiness", resource(TARGETS), resource(TARGETS, stickiness={"enabled": False})) == []
    assert told("stickiness", forward(1, 1, stickiness={"enabled": False, "duration": 1})) == []
    assert told("stickiness", resource(TARGETS, stickiness=UNKNOWN)) == []


def test_users_who_are_tied_are_not() -> None:
    assert told("stickiness", resource(TARGETS, stickiness={"enabled": True})) == [
        "stickiness.enabled is true; allowed is false, else clients stay with a color after a cutover"
    ]
    assert told("stickiness", forward(1, 1, stickiness={"enabled": True, "duration": 60})) == [
        "stickiness.enabled of the forward is true; allowed is false, else clients stay with a color"
    ]
