from __future__ import annotations

import inspect
import json
from typing import Any

from components import policy_documents
from tests.declared import CONTEXT

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1a2b"
BUCKET, TOPIC = "arn:aws:s3:::artifacts-1a2b", "arn:aws:sns:eu-central-1:123456789012:alerts-1a2b"
REPOSITORY = "arn:aws:ecr:eu-central-1:123456789012:repository/bluegreen/dev/base"
SESSION_MANAGER = {
    "Sid": "SessionManager",
    "Effect": "Allow",
    "Action": [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ],
    "Resource": "*",
}
MACHINE = [
    {
        "Sid": "ReadReleases",
        "Effect": "Allow",
        "Action": ["s3:GetObject"],
        "Resource": "arn:aws:s3:::artifacts-1a2b/releases/*",
    },
    {
        "Sid": "ReadConfig",
        "Effect": "Allow",
        "Action": ["ssm:GetParametersByPath"],
        "Resource": [
            "arn:aws:ssm:eu-central-1:123456789012:parameter/bluegreen/dev/app",
            "arn:aws:ssm:eu-central-1:123456789012:parameter/bluegreen/dev/app/*",
        ],
    },
    {
        "Sid": "WriteLogs",
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
        "Resource": [
            "arn:aws:logs:eu-central-1:123456789012:log-group:/bluegreen/dev/app:*",
            "arn:aws:logs:eu-central-1:123456789012:log-group:/bluegreen/dev/boot:*",
            "arn:aws:logs:eu-central-1:123456789012:log-group:/bluegreen/dev/system:*",
        ],
    },
    {
        "Sid": "WriteMetrics",
        "Effect": "Allow",
        "Action": ["cloudwatch:PutMetricData"],
        "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": "bluegreen"}},
    },
    {"Sid": "PublishFailures", "Effect": "Allow", "Action": ["sns:Publish"], "Resource": TOPIC},
    {
        "Sid": "EncryptFailures",
        "Effect": "Allow",
        "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
        "Resource": KEY,
        "Condition": {"StringEquals": {"kms:ViaService": "sns.eu-central-1.amazonaws.com"}},
    },
    {
        "Sid": "FindOwnGroup",
        "Effect": "Allow",
        "Action": ["autoscaling:DescribeAutoScalingInstances"],
        "Resource": "*",
    },
    {
        "Sid": "CompleteOwnLifecycle",
        "Effect": "Allow",
        "Action": [
            "autoscaling:CompleteLifecycleAction",
            "autoscaling:RecordLifecycleActionHeartbeat",
            "autoscaling:SetInstanceHealth",
        ],
        "Resource": "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:*:autoScalingGroupName/dev-*",
        "Condition": {"StringEquals": {"autoscaling:ResourceTag/Stack": "dev"}},
    },
    SESSION_MANAGER,
]
PULL = [
    {"Sid": "EnterRegistry", "Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "*"},
    {
        "Sid": "PullBaseImage",
        "Effect": "Allow",
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Resource": REPOSITORY,
    },
]


def statements(document: policy_documents.Document) -> list[dict[str, Any]]:
    assert document["Version"] == "2012-10-17"
    return list(document["Statement"])


def test_a_machine_may_do_its_own_work_and_nothing_else() -> None:
    assert statements(policy_documents.instance(CONTEXT, bucket_arn=BUCKET, topic_arn=TOPIC, key_arn=KEY)) == MACHINE


def test_with_a_base_image_a_machine_may_pull_it() -> None:
    document = policy_documents.instance(
        CONTEXT, bucket_arn=BUCKET, topic_arn=TOPIC, key_arn=KEY, repository_arn=REPOSITORY
    )
    assert statements(document) == [*MACHINE, *PULL]


def test_every_star_that_stands_for_all_is_explained() -> None:
    lines = inspect.getsource(policy_documents).splitlines()
    stars = [number for number, line in enumerate(lines) if '"*")' in line or '"*"}' in line]
    assert len(stars) == 6
    for number in stars:
        above = "".join(lines[max(0, number - 2) : number])
        assert "#" in above, lines[number]


def test_a_role_is_taken_by_its_service_only() -> None:
    assert policy_documents.assumed_by("ec2.amazonaws.com") == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}},
        ],
    }


def test_flow_logs_go_into_their_own_group() -> None:
    assert statements(policy_documents.flow_logs("arn:aws:logs:r:a:log-group:flow")) == [
        {
            "Sid": "WriteFlowLogs",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            "Resource": "arn:aws:logs:r:a:log-group:flow:*",
        }
    ]


def test_a_bucket_takes_nobody_without_tls() -> None:
    assert policy_documents.tls_only(BUCKET) == {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [BUCKET, f"{BUCKET}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_access_logs_are_delivered_below_a_prefix_each() -> None:
    assert policy_documents.log_delivery(BUCKET, "123456789012") == (
        {
            "Sid": "LoadBalancerLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"{BUCKET}/balancer/AWSLogs/123456789012/*",
        },
        {
            "Sid": "BucketLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"{BUCKET}/artifacts/*",
            "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
        },
    )


def test_lines_are_handed_to_one_stream_on_behalf_of_the_accounts_own_groups() -> None:
    stream = "arn:aws:firehose:eu-central-1:123456789012:deliverystream/log-archive-1a2b"
    assert statements(policy_documents.archive_sender(stream)) == [
        {
            "Sid": "SendLogEvents",
            "Effect": "Allow",
            "Action": ["firehose:PutRecord", "firehose:PutRecordBatch"],
            "Resource": stream,
        }
    ]
    own = "arn:aws:logs:eu-central-1:123456789012:*"
    assert statements(policy_documents.assumed_by("logs.amazonaws.com", source_arns=own)) == [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "logs.amazonaws.com"},
            "Condition": {"ArnLike": {"aws:SourceArn": own}},
        }
    ]


def test_events_are_told_to_one_topic_on_behalf_of_the_given_rules() -> None:
    assert statements(policy_documents.events_publisher(CONTEXT, topic_arn="arn:topic", key_arn="arn:key")) == [
        {"Sid": "PublishEvents", "Effect": "Allow", "Action": ["sns:Publish"], "Resource": "arn:topic"},
        {
            "Sid": "EncryptEvents",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "arn:key",
            "Condition": {"StringEquals": {"kms:ViaService": "sns.eu-central-1.amazonaws.com"}},
        },
    ]
    (trusted,) = statements(policy_documents.assumed_by("events.amazonaws.com", source_arns=["arn:one", "arn:two"]))
    assert trusted["Condition"] == {"ArnLike": {"aws:SourceArn": ["arn:one", "arn:two"]}}


def test_the_archive_is_written_below_its_prefix() -> None:
    assert statements(policy_documents.archive_writer(BUCKET, "logs/")) == [
        {
            "Sid": "FindArchive",
            "Effect": "Allow",
            "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            "Resource": BUCKET,
        },
        {
            "Sid": "WriteArchive",
            "Effect": "Allow",
            "Action": ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            "Resource": f"{BUCKET}/logs/*",
        },
    ]


def test_a_document_is_sent_as_json() -> None:
    document = policy_documents.document({"Effect": "Allow"})
    assert json.loads(policy_documents.text(document)) == document


def test_a_topics_key_is_for_the_account_its_publishers_and_alarms() -> None:
    uses = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*"}
    assert statements(policy_documents.topic_key(CONTEXT)) == [
        {
            "Sid": "AccountPolicies",
            "Effect": "Allow",
            "Action": ["kms:*"],
            "Resource": "*",
            "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        },
        {
            "Sid": "Publishers",
            **uses,
            "Principal": {"AWS": "*"},
            "Condition": {
                "StringEquals": {
                    "kms:CallerAccount": "123456789012",
                    "kms:ViaService": "sns.eu-central-1.amazonaws.com",
                }
            },
        },
        {"Sid": "Alarms", **uses, "Principal": {"Service": "cloudwatch.amazonaws.com"}},
    ]
