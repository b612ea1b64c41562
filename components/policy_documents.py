"""IAM and bucket policies as plain data: pure functions of names and ARNs, so that a test can compare them whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ami.boot.user_data import METRICS_NAMESPACE
from config.context import StackContext

VERSION = "2012-10-17"
MACHINE_LOGS = ("app", "boot", "system")
# What publishing to an encrypted topic takes. GenerateDataKey* is one use in several forms.
TOPIC_KEY_USES = ("kms:Decrypt", "kms:GenerateDataKey*")
TOPIC_KEY_ROLE = "alerts"  # tag of the key, by which CI's role may keep it

Document = Mapping[str, Any]


def text(document: Document) -> str:
    """A document as AWS takes it."""
    return json.dumps(document)


def document(*statements: Mapping[str, Any]) -> Document:
    return {"Version": VERSION, "Statement": list(statements)}


def assumed_by(service: str, *, for_things: str | Sequence[str] = "") -> Document:
    """Who may take a role: one AWS service, where it tells for which thing, only on behalf of such ARNs (patterns)."""
    own = {"Condition": {"ArnLike": {"aws:SourceArn": for_things}}} if for_things else {}
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}} | own)


def role_path(stack: str) -> str:
    """Where a stack's roles stand: their ARNs begin alike, so that another policy can be held to them."""
    return f"/bluegreen/{stack}/"


def log_group(stack: str, of: str) -> str:
    """A group's name."""
    return f"/bluegreen/{stack}/{of}"


def machine(
    context: StackContext, *, bucket_arn: str, topic_arn: str, key_arn: str, repository_arn: str = ""
) -> Document:
    """What a machine may do: fetch its release and its config, tell how it fares, and nothing of other stacks."""
    statements = [
        allow("ReadReleases", ["s3:GetObject"], f"{bucket_arn}/releases/*"),
        # AWS's own key for SecureString needs no grant: its policy lets in whoever may read the parameter.
        allow(
            "ReadConfig",
            ["ssm:GetParametersByPath"],
            # The path is judged as it is asked for, with or without the slash at its end.
            *(context.arn("ssm", f"parameter{context.parameter_path.rstrip('/')}{end}") for end in ("", "/*")),
        ),
        allow(
            "WriteLogs",
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            *(context.arn("logs", f"log-group:{log_group(context.stack, of)}:*") for of in MACHINE_LOGS),
        ),
        # PutMetricData knows no ARN; the namespace is the narrowest that it can be held to.
        allow("WriteMetrics", ["cloudwatch:PutMetricData"], "*")
        | {"Condition": {"StringEquals": {"cloudwatch:namespace": METRICS_NAMESPACE}}},
        *_telling(context, "Failures", topic_arn, key_arn),
        # Describe actions of Auto Scaling know no ARN.
        allow("FindOwnGroup", ["autoscaling:DescribeAutoScalingInstances"], "*"),
        allow(
            "EndOwnLifecycle",
            [
                "autoscaling:CompleteLifecycleAction",
                "autoscaling:RecordLifecycleActionHeartbeat",
                "autoscaling:SetInstanceHealth",
            ],
            # The first * is an id that AWS makes up, the second one color, release and the provider's suffix.
            context.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{context.stack}-*"),
        )
        # Another stack's name may begin with this one's.
        | {"Condition": {"StringEquals": {"autoscaling:ResourceTag/Stack": context.stack}}},
        *_session_manager(),
        *(_pull(repository_arn) if repository_arn else ()),
    ]
    return document(*statements)


def events_teller(context: StackContext, *, topic_arn: str, key_arn: str) -> Document:
    """What EventBridge may do for a stack's rules: publish to its topic."""
    return document(*_telling(context, "Events", topic_arn, key_arn))


def flow_logs(log_group_arn: str) -> Document:
    """What the VPC flow log service may do: write into its own group."""
    actions = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    return document(allow("WriteFlowLogs", actions, f"{log_group_arn}:*"))


def archive_sender(stream_arn: str) -> Document:
    """What CloudWatch Logs may do: hand a subscription's lines to its stream."""
    return document(allow("SendLines", ["firehose:PutRecord", "firehose:PutRecordBatch"], stream_arn))


def archive_writer(bucket_arn: str, prefix: str) -> Document:
    """What Firehose may do: write objects below a prefix of the archive, in parts where they are large."""
    looks = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    writes = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    return document(allow("FindArchive", looks, bucket_arn), allow("WriteArchive", writes, f"{bucket_arn}/{prefix}*"))


def topic_key(context: StackContext) -> Document:
    """A topic's key: IAM decides on it, whoever of the account may publish may use it, and so may alarms."""
    root = f"arn:{context.partition}:iam::{context.account}:root"
    own = {"kms:CallerAccount": context.account, "kms:ViaService": f"sns.{context.region}.amazonaws.com"}
    itself = "*"  # in a key's own policy that is the key
    return document(
        allow("AccountDecides", ["kms:*"], itself) | {"Principal": {"AWS": root}},
        allow("Publishers", TOPIC_KEY_USES, itself)
        # Everybody of this account, by way of SNS only, which asks them for sns:Publish first.
        | {"Principal": {"AWS": "*"}, "Condition": {"StringEquals": own}},
        # Alarms come as the service, of no account: the topic's own policy lets in those of this account only.
        allow("Alarms", TOPIC_KEY_USES, itself) | {"Principal": {"Service": "cloudwatch.amazonaws.com"}},
    )


def tls_only(bucket_arn: str) -> Mapping[str, Any]:
    """Refuse whoever comes without TLS."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        # Everybody: a denial takes nothing but access away.
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def log_delivery(bucket_arn: str, account: str) -> tuple[Mapping[str, Any], ...]:
    """The load balancer and S3 itself may put their access logs below a prefix each, on behalf of this account only."""
    own = {"StringEquals": {"aws:SourceAccount": account}}
    senders = {
        "BalancerLogs": ("logdelivery.elasticloadbalancing.amazonaws.com", f"balancer/AWSLogs/{account}/*"),
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
        # The balancer's delivery gives no source account; its key holds the account instead.
        | ({"Condition": own} if sid == "BucketLogs" else {})
        for sid, (service, key) in senders.items()
    )


def allow(sid: str, actions: Sequence[str], *resources: str) -> dict[str, Any]:
    """A statement; AWS takes one resource without a list, and shows it so."""
    resource = list(resources) if len(resources) > 1 else resources[0]
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


def _telling(context: StackContext, what: str, topic_arn: str, key_arn: str) -> tuple[Mapping[str, Any], ...]:
    return (
        allow(f"Tell{what}", ["sns:Publish"], topic_arn),
        allow(f"Encrypt{what}", TOPIC_KEY_USES, key_arn)
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
    # Channels know no ARN, and AWS documents the agent's heartbeat with * only (Session Manager, minimal profile).
    return (allow("SessionManager", actions, "*"),)


def _pull(repository_arn: str) -> tuple[Mapping[str, Any], ...]:
    return (
        # The token is for the account's registry as a whole; what it opens is bounded below.
        allow("EnterRegistry", ["ecr:GetAuthorizationToken"], "*"),
        allow("PullBaseImage", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], repository_arn),
    )
