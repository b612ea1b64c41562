from __future__ import annotations

import inspect
import json
import re
import runpy
from collections.abc import Callable
from typing import Any

import pytest

from bootstrap import ci_policies
from bootstrap.ci_policies import Account, Backend
from components import policy_documents
from config.context import StackContext
from tests.declared import ROOT, Declaration, declare, stack_config

from .iam import allows

ID, REGION = "123456789012", "eu-central-1"
ACCOUNT = Account(partition="aws", id=ID, project="bluegreen")
STATE = "arn:aws:s3:::bluegreen-state-1a2b"
KEY = f"arn:aws:kms:{REGION}:{ID}:key/1a2b"
BACKEND = Backend(bucket_arn=STATE, key_arn=KEY)
BOUNDARY = f"arn:aws:iam::{ID}:policy/bluegreen-ci/bluegreen-boundary"
PROVIDER = f"arn:aws:iam::{ID}:oidc-provider/token.actions.githubusercontent.com"
MACHINE = f"arn:aws:iam::{ID}:role/bluegreen/dev/machine-1a2b"
STRANGER = f"arn:aws:iam::{ID}:role/Admin"
DEPLOY = f"arn:aws:iam::{ID}:role/bluegreen-ci/bluegreen-deploy"
VALUE = f"arn:aws:ssm:{REGION}:{ID}:parameter/bluegreen/dev/app/DATABASE_URL"
TOKEN = f"arn:aws:ssm:{REGION}:{ID}:parameter/bluegreen/dev/preview-token"

BUCKETS = ["arn:aws:s3:::artifacts-*", "arn:aws:s3:::log-archive-*"]
STREAMS = f"arn:aws:firehose:*:{ID}:deliverystream/log-archive-*"
RULES = f"arn:aws:events:*:{ID}:rule/machine-events-*"
RULE = f"arn:aws:events:{REGION}:{ID}:rule/machine-events-blue-lost-1a2b"
STREAM = f"arn:aws:firehose:{REGION}:{ID}:deliverystream/log-archive-1a2b"

STATE_READING = [
    {"Sid": "FindState", "Effect": "Allow", "Action": ["s3:GetBucketLocation", "s3:ListBucket"], "Resource": STATE},
    {"Sid": "ReadState", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": f"{STATE}/*"},
    {"Sid": "DecryptSecrets", "Effect": "Allow", "Action": ["kms:Decrypt", "kms:DescribeKey"], "Resource": KEY},
]
STATE_WRITING = [
    {
        "Sid": "WriteState",
        "Effect": "Allow",
        "Action": ["s3:DeleteObject", "s3:PutObject"],
        "Resource": f"{STATE}/*",
    },
    {"Sid": "EncryptSecrets", "Effect": "Allow", "Action": ["kms:Encrypt", "kms:GenerateDataKey"], "Resource": KEY},
]
INSTANCE_DESCRIBES = [
    "autoscaling:Describe*",
    "cloudwatch:Describe*",
    "cloudwatch:GetDashboard",
    "cloudwatch:ListTagsForResource",
    "ec2:Describe*",
    "ec2:GetManagedPrefixListEntries",
    "elasticloadbalancing:Describe*",
]
DESCRIBES = [
    "acm:DescribeCertificate",
    "acm:ListCertificates",
    "acm:ListTagsForCertificate",
    "ecr:DescribeRepositories",
    "ecr:GetAuthorizationToken",
    "kms:Describe*",
    "kms:Get*",
    "kms:List*",
    "logs:Describe*",
    "logs:ListTags*",
    "route53:Get*",
    "route53:List*",
    "sns:Get*",
    "sns:List*",
    "ssm:DescribeParameters",
]
READING = [
    {
        "Sid": "Describe",
        "Effect": "Allow",
        "Action": [*INSTANCE_DESCRIBES, *DESCRIBES],
        "Resource": "*",
    },
    {
        "Sid": "ReadBucketSettings",
        "Effect": "Allow",
        "Action": ["s3:GetBucket*", "s3:Get*Configuration", "s3:ListBucket", "s3:ListTagsForResource"],
        "Resource": BUCKETS,
    },
    {
        "Sid": "ReadArchive",
        "Effect": "Allow",
        "Action": ["firehose:DescribeDeliveryStream", "firehose:ListTagsForDeliveryStream"],
        "Resource": STREAMS,
    },
    {
        "Sid": "ReadRules",
        "Effect": "Allow",
        "Action": ["events:DescribeRule", "events:List*"],
        "Resource": RULES,
    },
    {
        "Sid": "ReadImages",
        "Effect": "Allow",
        "Action": [
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:DescribeImages",
            "ecr:GetDownloadUrlForLayer",
            "ecr:GetLifecyclePolicy",
            "ecr:GetRepositoryPolicy",
            "ecr:ListTagsForResource",
        ],
        "Resource": f"arn:aws:ecr:*:{ID}:repository/bluegreen/*",
    },
    {
        "Sid": "ReadParameters",
        "Effect": "Allow",
        "Action": ["ssm:GetParameter", "ssm:GetParameters", "ssm:ListTagsForResource"],
        "Resource": f"arn:aws:ssm:*:{ID}:parameter/bluegreen/*",
    },
    {
        "Sid": "ReadRoles",
        "Effect": "Allow",
        "Action": [
            "iam:GetInstanceProfile",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListInstanceProfileTags",
            "iam:ListInstanceProfilesForRole",
            "iam:ListRolePolicies",
            "iam:ListRoleTags",
        ],
        "Resource": [f"arn:aws:iam::{ID}:role/bluegreen/*", f"arn:aws:iam::{ID}:instance-profile/bluegreen/*"],
    },
]
MAKING = [
    {
        "Sid": "Instances",
        "Effect": "Allow",
        "Action": [
            "autoscaling:*",
            "cloudwatch:*",
            "ec2:*",
            "elasticloadbalancing:*",
            "logs:*LogDeliver*",
            "logs:PutResourcePolicy",
        ],
        "Resource": "*",
    },
    {
        "Sid": "Named",
        "Effect": "Allow",
        "Action": ["ecr:*", "events:*", "firehose:*", "logs:*", "s3:*", "sns:*", "ssm:*"],
        "Resource": [
            f"arn:aws:ecr:*:{ID}:repository/bluegreen/*",
            RULES,
            STREAMS,
            f"arn:aws:logs:*:{ID}:log-group:/bluegreen/*",
            *BUCKETS,
            f"arn:aws:sns:*:{ID}:alerts-*",
            f"arn:aws:ssm:*:{ID}:parameter/bluegreen/*",
        ],
    },
    {
        "Sid": "CreateKeys",
        "Effect": "Allow",
        "Action": ["kms:CreateKey", "kms:TagResource"],
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:RequestTag/Role": "alerts"}},
    },
    {
        "Sid": "ManageKeys",
        "Effect": "Allow",
        "Action": [
            "kms:*KeyRotation",
            "kms:PutKeyPolicy",
            "kms:ScheduleKeyDeletion",
            "kms:UntagResource",
            "kms:UpdateKeyDescription",
            "kms:Decrypt",
            "kms:GenerateDataKey*",
        ],
        "Resource": f"arn:aws:kms:*:{ID}:key/*",
        "Condition": {"StringEquals": {"aws:ResourceTag/Role": "alerts"}},
    },
    {
        "Sid": "VpnKeys",
        "Effect": "Allow",
        "Action": [
            "secretsmanager:*Secret",
            "secretsmanager:PutSecretValue",
            "secretsmanager:Tag*",
        ],
        "Resource": f"arn:aws:secretsmanager:*:{ID}:secret:s2svpn!*",
    },
    {
        "Sid": "Names",
        "Effect": "Allow",
        "Action": ["route53:ChangeResourceRecordSets"],
        "Resource": "arn:aws:route53:::hostedzone/*",
    },
]
ROLES = [
    {
        "Sid": "CreateBoundedRoles",
        "Effect": "Allow",
        "Action": [
            "iam:AttachRolePolicy",
            "iam:CreateRole",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:PutRolePermissionsBoundary",
            "iam:PutRolePolicy",
        ],
        "Resource": f"arn:aws:iam::{ID}:role/bluegreen/*",
        "Condition": {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}},
    },
    {
        "Sid": "UpdateRoles",
        "Effect": "Allow",
        "Action": [
            "iam:DeleteRole",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRole",
            "iam:UpdateRoleDescription",
        ],
        "Resource": f"arn:aws:iam::{ID}:role/bluegreen/*",
    },
    {
        "Sid": "ManageProfiles",
        "Effect": "Allow",
        "Action": [
            "iam:AddRoleToInstanceProfile",
            "iam:CreateInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:RemoveRoleFromInstanceProfile",
            "iam:TagInstanceProfile",
            "iam:UntagInstanceProfile",
        ],
        "Resource": f"arn:aws:iam::{ID}:instance-profile/bluegreen/*",
    },
    {
        "Sid": "PassRoles",
        "Effect": "Allow",
        "Action": ["iam:PassRole"],
        "Resource": f"arn:aws:iam::{ID}:role/bluegreen/*",
        "Condition": {
            "StringEquals": {
                "iam:PassedToService": [
                    "ec2.amazonaws.com",
                    "events.amazonaws.com",
                    "firehose.amazonaws.com",
                    "logs.amazonaws.com",
                    "vpc-flow-logs.amazonaws.com",
                ]
            }
        },
    },
    {
        "Sid": "ServiceLinkedRoles",
        "Effect": "Allow",
        "Action": ["iam:CreateServiceLinkedRole"],
        "Resource": f"arn:aws:iam::{ID}:role/aws-service-role/*",
        "Condition": {
            "StringEquals": {
                "iam:AWSServiceName": [
                    "autoscaling.amazonaws.com",
                    "elasticloadbalancing.amazonaws.com",
                    "s2svpn.amazonaws.com",
                    "transitgateway.amazonaws.com",
                ],
            }
        },
    },
]
MACHINES_OWN = [
    {
        "Sid": "SessionManager",
        "Effect": "Allow",
        "Action": ["ssm:UpdateInstanceInformation", "ssmmessages:*"],
        "Resource": "*",
    },
    {
        "Sid": "ServiceKeys",
        "Effect": "Allow",
        "Action": [
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey*",
            "kms:ReEncrypt*",
        ],
        "Resource": f"arn:aws:kms:*:{ID}:key/*",
        "Condition": {
            "StringLike": {"kms:ViaService": ["ec2.*.amazonaws.com", "sns.*.amazonaws.com", "ssm.*.amazonaws.com"]}
        },
    },
]
GUARD_RAILS = [
    {
        "Sid": "DenyCiRoles",
        "Effect": "Deny",
        "Action": ["iam:*", "sts:AssumeRole"],
        "Resource": [
            f"arn:aws:iam::{ID}:policy/bluegreen-ci/*",
            f"arn:aws:iam::{ID}:role/bluegreen-ci/*",
            PROVIDER,
        ],
    },
    {"Sid": "DenyStateKeyTags", "Effect": "Deny", "Action": ["kms:TagResource"], "Resource": KEY},
    {"Sid": "DenyBoundaryRemoval", "Effect": "Deny", "Action": ["iam:DeleteRolePermissionsBoundary"], "Resource": "*"},
    {
        "Sid": "DenyOwnState",
        "Effect": "Deny",
        "Action": ["s3:DeleteObject", "s3:PutObject"],
        "Resource": f"{STATE}/.pulumi/*/bluegreen-bootstrap/*",
    },
]
NO_APP_VALUES = {
    "Sid": "DenyAppParameters",
    "Effect": "Deny",
    "Action": ["ssm:GetParameter*"],
    "Resource": [
        f"arn:aws:ssm:*:{ID}:parameter/bluegreen/*/app",
        f"arn:aws:ssm:*:{ID}:parameter/bluegreen/*/app/*",
    ],
}


def test_only_the_named_jobs_take_a_role() -> None:
    assert ci_policies.trust(PROVIDER, ["repo:Acme/shop:pull_request"]) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Principal": {"Federated": PROVIDER},
                "Condition": {
                    "StringEquals": {
                        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                        "token.actions.githubusercontent.com:sub": ["repo:Acme/shop:pull_request"],
                    }
                },
            }
        ],
    }


def test_the_account_decides_on_the_key() -> None:
    assert ci_policies.key_policy(ACCOUNT)["Statement"] == [
        {
            "Sid": "AccountPolicies",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ID}:root"},
            "Action": ["kms:*"],
            "Resource": "*",
        }
    ]


def test_previews_read() -> None:
    assert ci_policies.preview(ACCOUNT, BACKEND)["Statement"] == [*STATE_READING, *READING, NO_APP_VALUES]


def test_deploys_read_and_make() -> None:
    assert ci_policies.deploy(ACCOUNT, BACKEND)["Statement"] == [
        *STATE_READING,
        *STATE_WRITING,
        *READING,
        *MAKING,
        *ROLES,
        NO_APP_VALUES,
    ]


def test_the_boundary() -> None:
    assert ci_policies.boundary(ACCOUNT, BACKEND)["Statement"] == [
        *STATE_READING,
        *STATE_WRITING,
        {"Sid": "Describe", "Effect": "Allow", "Action": DESCRIBES, "Resource": "*"},
        READING[-1],
        *MAKING,
        *ROLES,
        *MACHINES_OWN,
        *GUARD_RAILS,
    ]


def test_the_names_follow_the_project_and_the_partition() -> None:
    account = Account(partition="aws-cn", id=ID, project="shop")
    assert (account.ci_path, account.boundary_arn) == (
        "/shop-ci/",
        f"arn:aws-cn:iam::{ID}:policy/shop-ci/shop-boundary",
    )
    assert "arn:aws:" not in json.dumps(ci_policies.boundary(account, Backend(bucket_arn="b", key_arn="k")))


@pytest.mark.parametrize(
    ("policy", "most"),
    # IAM's quotas in characters without white space: a managed policy, and a role's own ones together.
    [(ci_policies.boundary, 6144), (ci_policies.deploy, 10240), (ci_policies.preview, 10240)],
)
def test_even_the_longest_names_fit_into_iam(policy: Callable[[Account, Backend], Any], most: int) -> None:
    account = Account(partition="aws-us-gov", id=ID, project="p" * 24)
    longest = Backend(bucket_arn="b" * 78, key_arn="k" * 95)
    assert len(re.sub(r"\s", "", json.dumps(policy(account, longest)))) <= most


def test_every_star_that_stands_for_everything_has_a_reason() -> None:
    lines = inspect.getsource(ci_policies).splitlines()
    stars = [number for number, line in enumerate(lines) if re.search(r'"\*"\)|[a-z]:\*"', line)]
    assert len(stars) == 10
    for number in stars:
        assert "# " in "".join(lines[number - 3 : number]), lines[number]


# What the deploying role may in the end: by its own policy and by its boundary.
NO: dict[str, str] = {}
MAY: list[tuple[str, str, dict[str, str], bool]] = [
    ("ec2:CreateVpc", "*", NO, True),
    ("s3:PutBucketPolicy", "arn:aws:s3:::artifacts-1a2b", NO, True),
    ("s3:PutObject", "arn:aws:s3:::artifacts-1a2b/releases/v1/bundle.tar.gz", NO, True),
    ("s3:GetObject", "arn:aws:s3:::somebody-elses/secret", NO, False),
    ("s3:PutObject", f"{STATE}/.pulumi/stacks/bluegreen/dev.json", NO, True),
    ("s3:PutObject", f"{STATE}/.pulumi/stacks/bluegreen-bootstrap/account.json", NO, False),
    ("s3:DeleteObject", f"{STATE}/.pulumi/history/bluegreen-bootstrap/account/1.json", NO, False),
    ("s3:GetObject", f"{STATE}/.pulumi/stacks/bluegreen-bootstrap/account.json", NO, True),
    ("s3:DeleteObjectVersion", f"{STATE}/.pulumi/stacks/bluegreen/dev.json", NO, False),
    ("s3:PutLifecycleConfiguration", STATE, NO, False),
    ("s3:PutBucketVersioning", STATE, NO, False),
    ("s3:DeleteBucket", STATE, NO, False),
    ("secretsmanager:CreateSecret", f"arn:aws:secretsmanager:{REGION}:{ID}:secret:s2svpn!vpn-1", NO, True),
    ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ID}:secret:s2svpn!vpn-1", NO, False),
    ("secretsmanager:CreateSecret", f"arn:aws:secretsmanager:{REGION}:{ID}:secret:other", NO, False),
    ("logs:CreateLogDelivery", "*", NO, True),
    ("kms:Encrypt", KEY, NO, True),
    ("kms:CreateKey", "*", {"aws__RequestTag/Role": "alerts"}, True),
    ("kms:CreateKey", "*", NO, False),
    ("kms:PutKeyPolicy", KEY.replace("1a2b", "other"), {"aws__ResourceTag/Role": "alerts"}, True),
    ("kms:PutKeyPolicy", KEY.replace("1a2b", "other"), NO, False),
    ("kms:TagResource", KEY, {"aws__RequestTag/Role": "alerts"}, False),
    ("kms:ScheduleKeyDeletion", KEY, NO, False),
    ("kms:PutKeyPolicy", KEY, NO, False),
    ("kms:Decrypt", KEY.replace("1a2b", "other"), NO, False),
    ("iam:CreateRole", MACHINE, {"iam__PermissionsBoundary": BOUNDARY}, True),
    ("iam:CreateRole", MACHINE, NO, False),
    ("iam:CreateRole", MACHINE, {"iam__PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"}, False),
    ("iam:CreateRole", STRANGER, {"iam__PermissionsBoundary": BOUNDARY}, False),
    ("iam:PutRolePolicy", MACHINE, {"iam__PermissionsBoundary": BOUNDARY}, True),
    ("iam:PutRolePolicy", MACHINE, NO, False),
    ("iam:DeleteRolePermissionsBoundary", MACHINE, {"iam__PermissionsBoundary": BOUNDARY}, False),
    ("iam:UpdateAssumeRolePolicy", STRANGER, NO, False),
    ("iam:UpdateAssumeRolePolicy", DEPLOY, NO, False),
    ("iam:PutRolePolicy", DEPLOY, {"iam__PermissionsBoundary": BOUNDARY}, False),
    ("iam:AttachRolePolicy", DEPLOY, {"iam__PermissionsBoundary": BOUNDARY}, False),
    ("iam:CreatePolicyVersion", BOUNDARY, NO, False),
    ("iam:SetDefaultPolicyVersion", BOUNDARY, NO, False),
    ("iam:DeleteOpenIDConnectProvider", PROVIDER, NO, False),
    ("iam:AddClientIDToOpenIDConnectProvider", PROVIDER, NO, False),
    ("iam:CreateUser", f"arn:aws:iam::{ID}:user/me", NO, False),
    ("iam:PassRole", MACHINE, {"iam__PassedToService": "ec2.amazonaws.com"}, True),
    ("iam:PassRole", MACHINE, {"iam__PassedToService": "firehose.amazonaws.com"}, True),
    ("iam:PassRole", MACHINE, {"iam__PassedToService": "logs.amazonaws.com"}, True),
    ("iam:PassRole", MACHINE, {"iam__PassedToService": "events.amazonaws.com"}, True),
    ("events:PutTargets", RULE, NO, True),
    ("events:PutRule", RULE.replace("machine-events", "other"), NO, False),
    ("events:PutEvents", f"arn:aws:events:{REGION}:{ID}:event-bus/default", NO, False),
    ("iam:PassRole", MACHINE, {"iam__PassedToService": "lambda.amazonaws.com"}, False),
    ("firehose:CreateDeliveryStream", STREAM, NO, True),
    ("firehose:DeleteDeliveryStream", STREAM.replace("log-archive", "other"), NO, False),
    ("s3:PutLifecycleConfiguration", "arn:aws:s3:::log-archive-1a2b", NO, True),
    ("iam:PassRole", STRANGER, {"iam__PassedToService": "ec2.amazonaws.com"}, False),
    ("sts:AssumeRole", STRANGER, NO, False),
    ("ssm:PutParameter", TOKEN, NO, True),
    ("ssm:GetParameter", TOKEN, NO, True),
    ("ssm:GetParameter", VALUE, NO, False),
    ("ssm:GetParametersByPath", VALUE.rpartition("/")[0], NO, False),
    ("ssm:GetParameterHistory", VALUE, NO, False),
    ("ssm:StartSession", f"arn:aws:ec2:{REGION}:{ID}:instance/i-1", NO, False),
    ("sns:Publish", f"arn:aws:sns:{REGION}:{ID}:alerts-1a2b", NO, True),
    ("sns:Publish", f"arn:aws:sns:{REGION}:{ID}:others-1a2b", NO, False),
    ("cloudwatch:DescribeAlarms", "*", NO, True),
    ("cloudwatch:GetMetricData", "*", NO, True),
    ("logs:CreateLogGroup", f"arn:aws:logs:{REGION}:{ID}:log-group:/bluegreen/dev/app", NO, True),
    ("logs:DeleteLogGroup", f"arn:aws:logs:{REGION}:{ID}:log-group:/other/app", NO, False),
]


def named(value: Any) -> str:
    return value.rpartition(":")[2][-40:] if isinstance(value, str) else ""


@pytest.mark.parametrize(("action", "resource", "known", "may"), MAY, ids=named)
def test_what_a_deploying_job_may(action: str, resource: str, known: dict[str, str], may: bool) -> None:
    own, limit = ci_policies.deploy(ACCOUNT, BACKEND), ci_policies.boundary(ACCOUNT, BACKEND)
    assert (allows(own, action, resource, **known) and allows(limit, action, resource, **known)) is may


@pytest.mark.parametrize(
    ("action", "resource", "may"),
    [
        ("ec2:DescribeVpcs", "*", True),
        ("s3:GetBucketPolicy", "arn:aws:s3:::artifacts-1a2b", True),
        ("s3:GetLifecycleConfiguration", "arn:aws:s3:::artifacts-1a2b", True),
        ("s3:GetObject", "arn:aws:s3:::artifacts-1a2b/releases/v1/bundle.tar.gz", False),
        ("s3:GetObject", f"{STATE}/.pulumi/stacks/bluegreen/dev.json", True),
        ("s3:PutObject", f"{STATE}/.pulumi/stacks/bluegreen/dev.json", False),
        ("firehose:DescribeDeliveryStream", STREAM, True),
        ("firehose:UpdateDestination", STREAM, False),
        ("s3:GetObject", "arn:aws:s3:::log-archive-1a2b/logs/2026/11/21/09/1a2b.json.gz", False),
        ("events:ListTargetsByRule", RULE, True),
        ("events:PutTargets", RULE, False),
        ("kms:Decrypt", KEY, True),
        ("kms:Encrypt", KEY, False),
        ("ssm:GetParameter", TOKEN, True),
        ("ssm:GetParameter", VALUE, False),
        ("ssm:GetParametersByPath", VALUE.rpartition("/")[0], False),
        ("logs:FilterLogEvents", f"arn:aws:logs:{REGION}:{ID}:log-group:/bluegreen/dev/app", False),
        ("iam:GetRole", MACHINE, True),
        ("iam:GetRole", STRANGER, False),
        ("iam:CreateRole", MACHINE, False),
        ("ec2:RunInstances", "*", False),
    ],
    ids=named,
)
def test_what_a_previewing_job_may(action: str, resource: str, may: bool) -> None:
    assert allows(ci_policies.preview(ACCOUNT, BACKEND), action, resource) is may


def test_the_boundary_holds_all_that_a_deploy_reads() -> None:
    limit = ci_policies.boundary(ACCOUNT, BACKEND)
    asked = [
        (
            action.replace("*", "Anything"),
            each["Resource"] if isinstance(each["Resource"], str) else each["Resource"][0],
        )
        for each in READING
        for action in each["Action"]
    ]
    assert len(asked) > 35
    assert [each for each in asked if not allows(limit, *each)] == []


def test_bounded_roles_can_do_all_that_their_policies_grant() -> None:
    context = StackContext(region=REGION, account=ID, stack="dev")
    granted = policy_documents.instance(
        context,
        bucket_arn="arn:aws:s3:::artifacts-1a2b",
        topic_arn=f"arn:aws:sns:{REGION}:{ID}:alerts-1a2b",
        key_arn=KEY.replace("1a2b", "3c4d"),
        repository_arn=f"arn:aws:ecr:{REGION}:{ID}:repository/bluegreen/dev/base",
    )
    flows = policy_documents.flow_logs(f"arn:aws:logs:{REGION}:{ID}:log-group:/bluegreen/dev/flow")
    writer = policy_documents.archive_writer("arn:aws:s3:::log-archive-1a2b", "logs/")
    sender = policy_documents.archive_sender(STREAM)
    teller = policy_documents.events_publisher(
        context, topic_arn=f"arn:aws:sns:{REGION}:{ID}:alerts-1a2b", key_arn=KEY.replace("1a2b", "3c4d")
    )
    limit = ci_policies.boundary(ACCOUNT, BACKEND)
    asked = [
        (action, resource, each.get("Condition", {}).get("StringEquals", {}))
        for document in (granted, flows, writer, sender, teller)
        for each in document["Statement"]
        for action in each["Action"]
        for resource in ([each["Resource"]] if isinstance(each["Resource"], str) else each["Resource"])
    ]
    assert len(asked) >= 26
    told = [
        (action, resource, {key.replace(":", "__"): value for key, value in known.items()})
        for action, resource, known in asked
    ]
    assert [each for each in told if not allows(limit, each[0], each[1], **each[2])] == []


@pytest.fixture(scope="module")
def program() -> Declaration:
    return declare(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        config=stack_config("dev", alertEmails=["ops@example.org"], logArchiveDays=365),
    )


# Pulumi's modules, and the service whose actions make their resources.
SERVICES = {"lb": "elasticloadbalancing", "vpc": "ec2", "kinesis": "firehose"}


def test_every_service_of_the_main_program_may_be_used(program: Declaration) -> None:
    limit = ci_policies.boundary(ACCOUNT, BACKEND)
    actions = {action for each in limit["Statement"] if each["Effect"] == "Allow" for action in each["Action"]}
    writable = {action.partition(":")[0] for action in actions}
    used = {kind.partition(".")[0] for kind, _ in program.table()}
    assert {SERVICES.get(module, module) for module in used} <= writable


def test_the_main_programs_names_are_those_that_ci_is_held_to(program: Declaration) -> None:
    buckets = {each.inputs.get("bucket") or each.name for each in program.all("s3.Bucket").values()}
    held = (f"{ci_policies.BUCKETS}-", f"{ci_policies.ARCHIVE}-")
    assert {name for name in buckets if not f"{name}-".startswith(held)} == set()
    assert set(program.all("kinesis.FirehoseDeliveryStream")) == {ci_policies.ARCHIVE}
    rules = set(program.all("cloudwatch.EventRule"))
    assert {name for name in rules if not name.startswith(f"{ci_policies.EVENTS}-")} == set()
    assert len(rules) == 4
    topics = set(program.all("sns.Topic"))
    assert {name for name in topics if not f"{name}-".startswith(f"{ci_policies.TOPICS}-")} == set()
    logs = [each.inputs for each in program.all("cloudwatch.LogGroup").values()]
    groups = [inputs.get("name") or inputs["namePrefix"] for inputs in logs]
    parameters = [each.inputs["name"] for each in program.all("ssm.Parameter").values()]
    assert {name for name in [*groups, *parameters] if not name.startswith(f"/{ci_policies.PREFIX}/")} == set()
    paths = [
        each.inputs["path"] for kind in ("Role", "InstanceProfile") for each in program.all(f"iam.{kind}").values()
    ]
    assert {path for path in paths if not path.startswith(f"/{ci_policies.PREFIX}/")} == set()
