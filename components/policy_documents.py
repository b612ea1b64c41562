"""IAM, KMS and bucket policies as plain data: pure functions of names and ARNs, which tests compare entirely."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ami.boot.user_data import METRICS_NAMESPACE
from config.context import StackContext

VERSION = "2012-10-17"
INSTANCE_LOGS = ("app", "boot", "system")
# Permissions to publish to an encrypted topic. GenerateDataKey* is one use in several forms.
TOPIC_KEY_ACTIONS = ("kms:Decrypt", "kms:GenerateDataKey*")
TOPIC_KEY_ROLE = "alerts"  # tag of the key, by which CI's role may manage it

Document = Mapping[str, Any]


def text(document: Document) -> str:
    """A document as JSON."""
    return json.dumps(document)


def document(*statements: Mapping[str, Any]) -> Document:
    return {"Version": VERSION, "Statement": list(statements)}


def assumed_by(service: str, *, source_arns: str | Sequence[str] = "") -> Document:
    """Trust policy of a service role; with `source_arns` (patterns) only on behalf of those resources."""
    own = {"Condition": {"ArnLike": {"aws:SourceArn": source_arns}}} if source_arns else {}
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}} | own)


def role_path(stack: str) -> str:
    """IAM path of a stack's roles, by which another policy can be limited to them."""
    return f"/bluegreen/{stack}/"


def log_group(stack: str, kind: str) -> str:
    """Name of a log group; `kind` is one of INSTANCE_LOGS."""
    return f"/bluegreen/{stack}/{kind}"


def instance(
    context: StackContext, *, bucket_arn: str, topic_arn: str, key_arn: str, repository_arn: str = ""
) -> Document:
    """Permissions of an instance: download releases, read its config, log and publish failures; of this stack only."""
    statements = [
        allow("ReadReleases", ["s3:GetObject"], f"{bucket_arn}/releases/*"),
        # AWS's own key for SecureString needs no grant: its policy lets in whoever may read the parameter.
        allow(
            "ReadConfig",
            ["ssm:GetParametersByPath"],
            # IAM evaluates the path as it is requested, with or without the trailing slash.
            *(context.arn("ssm", f"parameter{context.parameter_path.rstrip('/')}{end}") for end in ("", "/*")),
        ),
        allow(
            "WriteLogs",
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            *(context.arn("logs", f"log-group:{log_group(context.stack, kind)}:*") for kind in INSTANCE_LOGS),
        ),
        # PutMetricData supports no ARN; the namespace is the only restriction.
        allow("WriteMetrics", ["cloudwatch:PutMetricData"], "*")
        | {"Condition": {"StringEquals": {"cloudwatch:namespace": METRICS_NAMESPACE}}},
        *_publish(context, "Failures", topic_arn, key_arn),
        # Describe actions of Auto Scaling support no ARN.
        allow("FindOwnGroup", ["autoscaling:DescribeAutoScalingInstances"], "*"),
        allow(
            "CompleteOwnLifecycle",
            [
                "autoscaling:CompleteLifecycleAction",
                "autoscaling:RecordLifecycleActionHeartbeat",
                "autoscaling:SetInstanceHealth",
            ],
            # The first * is an id that AWS generates, the second one color, release and the provider's suffix.
            context.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{context.stack}-*"),
        )
        # Another stack's name may begin with this one's.
        | {"Condition": {"StringEquals": {"autoscaling:ResourceTag/Stack": context.stack}}},
        *_session_manager(),
        *(_pull(repository_arn) if repository_arn else ()),
    ]
    return document(*statements)


def events_publisher(context: StackContext, *, topic_arn: str, key_arn: str) -> Document:
    """Permissions of EventBridge for a stack's rules: publish to its topic."""
    return document(*_publish(context, "Events", topic_arn, key_arn))


def flow_logs(log_group_arn: str) -> Document:
    """Permissions of VPC flow logs: write to their own log group."""
    actions = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    return document(allow("WriteFlowLogs", actions, f"{log_group_arn}:*"))


def archive_sender(stream_arn: str) -> Document:
    """Permissions of CloudWatch Logs: send a subscription's events to its stream."""
    return document(allow("SendLogEvents", ["firehose:PutRecord", "firehose:PutRecordBatch"], stream_arn))


def archive_writer(bucket_arn: str, prefix: str) -> Document:
    """Permissions of Firehose: write objects below a prefix of the archive, with multipart uploads."""
    reads = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    writes = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    return document(allow("FindArchive", reads, bucket_arn), allow("WriteArchive", writes, f"{bucket_arn}/{prefix}*"))


def topic_key(context: StackContext) -> Document:
    """Key policy of the topic: IAM policies apply, publishers of the account may use it, and so may alarms."""
    root = f"arn:{context.partition}:iam::{context.account}:root"
    own = {"kms:CallerAccount": context.account, "kms:ViaService": f"sns.{context.region}.amazonaws.com"}
    itself = "*"  # in a key's own policy that is the key
    return document(
        allow("AccountPolicies", ["kms:*"], itself) | {"Principal": {"AWS": root}},
        allow("Publishers", TOPIC_KEY_ACTIONS, itself)
        # Everybody of this account, through SNS only, which checks sns:Publish first.
        | {"Principal": {"AWS": "*"}, "Condition": {"StringEquals": own}},
        # Alarms use the service principal, without an account: the topic's own policy admits this account's only.
        allow("Alarms", TOPIC_KEY_ACTIONS, itself) | {"Principal": {"Service": "cloudwatch.amazonaws.com"}},
    )


def tls_only(bucket_arn: str) -> Mapping[str, Any]:
    """A statement that denies requests without TLS."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        # Everybody: a denial grants nothing.
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def log_delivery(bucket_arn: str, account: str) -> tuple[Mapping[str, Any], ...]:
    """Statements that let the load balancer and S3 write access logs below a prefix each, for this account only."""
    own = {"StringEquals": {"aws:SourceAccount": account}}
    senders = {
        "LoadBalancerLogs": ("logdelivery.elasticloadbalancing.amazonaws.com", f"balancer/AWSLogs/{account}/*"),
        "BucketLogs": ("logging.s3.amazonaws.com", "artifacts/*"),
    }
    return tuple(
        {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "s3:PutObject",
            "Resource": f"{bucket_arn}/{key}",
        }
        # The load balancer's log delivery sends no source account; its key contains the account instead.
        | ({"Condition": own} if sid == "BucketLogs" else {})
        for sid, (service, key) in senders.items()
    )


def allow(sid: str, actions: Sequence[str], *resources: str) -> dict[str, Any]:
    """A statement; one resource is not a list, as AWS normalizes it."""
    resource = list(resources) if len(resources) > 1 else resources[0]
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


def _publish(context: StackContext, subject: str, topic_arn: str, key_arn: str) -> tuple[Mapping[str, Any], ...]:
    return (
        allow(f"Publish{subject}", ["sns:Publish"], topic_arn),
        allow(f"Encrypt{subject}", TOPIC_KEY_ACTIONS, key_arn)
        | {"Condition": {"StringEquals": {"kms:ViaService": f"sns.{context.region}.amazonaws.com"}}},
    )


def _session_manager() -> tuple[Mapping[str, Any], ...]:
    """A shell without SSH. Narrower than AmazonSSMManagedInstanceCore, which reads every parameter of the account."""
    actions = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ]
    # Channels support no ARN, and AWS documents the agent's heartbeat with * only (Session Manager, minimal profile).
    return (allow("SessionManager", actions, "*"),)


def _pull(repository_arn: str) -> tuple[Mapping[str, Any], ...]:
    return (
        # The token is for the entire registry of the account; the next statement limits what it can pull.
        allow("EnterRegistry", ["ecr:GetAuthorizationToken"], "*"),
        allow("PullBaseImage", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], repository_arn),
    )
