"""Log archive: a Firehose stream that writes the log groups' events to a private bucket with a lifecycle rule."""

from __future__ import annotations

import operator
from collections.abc import Mapping

import pulumi
from pulumi_aws import cloudwatch, kinesis, s3

from ami.boot.user_data import LogGroups
from components import policy_documents
from components.alarm_metrics import AlarmSpec, Metric
from components.alarms import metric_alarm
from components.policy_documents import INSTANCE_LOGS, Document
from components.private_bucket import bucket_policy, lifecycle, private_bucket, rule
from components.service_role import service_role
from config.context import StackContext
from config.settings import LogSettings

COLD_AFTER_DAYS = 30  # incidents are over by then; until then reading costs only the request
COLD_CLASS = "GLACIER_IR"  # a quarter of the price, with immediate reads
MIN_COLD_DAYS = 90  # S3 charges at least so many, however short an object stays
FOLDER = "logs/"  # Firehose adds year/month/day/hour/, in UTC
BUFFER_MIB, BUFFER_SECONDS = 64, 900  # few large objects: each costs a request, and small ones are never transitioned
FIREHOSE = "AWS/Firehose"
LATE = AlarmSpec(
    name="late",
    description="log events wait for more than an hour to be archived, and are lost after a day",
    metrics={"age": Metric(name="DeliveryToS3.DataFreshness", stat="Maximum", namespace=FIREHOSE)},
    expression="age",
    threshold=3600,
    datapoints_to_alarm=1,
    evaluation_periods=5,
)


class LogArchive(pulumi.ComponentResource):
    """An alarm notifies the topic of late events. Outputs: `bucket`, `alarm` (a name).

    Events arrive minutes after they were written to a group, which retains them for its own number of days.
    """

    bucket: pulumi.Output[str]
    alarm: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: LogSettings,
        *,
        groups: pulumi.Output[LogGroups],
        topic_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:observability:LogArchive", name, {}, opts)
        self._name, self._context, self._days = name, context, settings.archive_days
        self._child = pulumi.ResourceOptions(parent=self)
        bucket = self._bucket()
        stream = self._stream(bucket)
        self._subscriptions(stream, groups)
        self.bucket, self.alarm = bucket.bucket, self._alarm(stream, topic_arn)
        self.register_outputs({"bucket": self.bucket, "alarm": self.alarm})

    def _bucket(self) -> s3.Bucket:
        bucket = private_bucket(self._name, self, self._context)
        lifecycle(self._name, self, bucket, [_expiration(self._days)])
        bucket_policy(self._name, self, bucket)
        return bucket

    def _stream(self, bucket: s3.Bucket) -> kinesis.FirehoseDeliveryStream:
        role = self._role(
            self._name,
            policy_documents.assumed_by("firehose.amazonaws.com"),
            bucket.arn.apply(lambda arn: policy_documents.archive_writer(arn, FOLDER)),
        )
        return kinesis.FirehoseDeliveryStream(
            self._name,
            destination="extended_s3",
            extended_s3_configuration=kinesis.FirehoseDeliveryStreamExtendedS3ConfigurationArgs(
                bucket_arn=bucket.arn,
                role_arn=role,
                prefix=FOLDER,
                buffering_size=BUFFER_MIB,
                buffering_interval=BUFFER_SECONDS,
                # CloudWatch Logs sends gzip already.
                compression_format="UNCOMPRESSED",
                file_extension=".json.gz",
            ),
            server_side_encryption=kinesis.FirehoseDeliveryStreamServerSideEncryptionArgs(
                enabled=True, key_type="AWS_OWNED_CMK"
            ),
            tags=self._tags,
            opts=self._child,
        )

    def _subscriptions(self, stream: kinesis.FirehoseDeliveryStream, groups: pulumi.Output[LogGroups]) -> None:
        role = self._role(
            f"{self._name}-sender",
            policy_documents.assumed_by("logs.amazonaws.com", source_arns=self._context.arn("logs", "*")),
            stream.arn.apply(policy_documents.archive_sender),
        )
        for kind in INSTANCE_LOGS:
            cloudwatch.LogSubscriptionFilter(
                f"{self._name}-{kind}",
                log_group=groups.apply(operator.attrgetter(kind)),
                filter_pattern="",  # everything
                destination_arn=stream.arn,
                role_arn=role,
                opts=self._child,
            )

    def _role(self, name: str, trust: Document, policy: pulumi.Output[Document]) -> pulumi.Output[str]:
        return service_role(name, self._context, trust=trust, policy=policy, opts=self._child)

    def _alarm(self, stream: kinesis.FirehoseDeliveryStream, topic_arn: pulumi.Input[str]) -> pulumi.Output[str]:
        stack = self._context.stack
        return metric_alarm(
            f"{self._name}-{LATE.name}",
            LATE,
            {FIREHOSE: {"DeliveryStreamName": stream.name}},
            alarm_name=f"{stack}-log-archive-{LATE.name}",
            subject=f"{stack} log archive",
            tags=self._tags,
            actions=[topic_arn],
            opts=self._child,
        ).name

    @property
    def _tags(self) -> Mapping[str, str]:
        return {"Stack": self._context.stack}


def _expiration(days: int) -> s3.BucketLifecycleConfigurationRuleArgs:
    """Events expire after `days`, and go to a colder storage class before, where that is cheaper."""
    cold = s3.BucketLifecycleConfigurationRuleTransitionArgs(days=COLD_AFTER_DAYS, storage_class=COLD_CLASS)
    return rule(
        "old-lines",
        expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
        transitions=[cold] if days >= COLD_AFTER_DAYS + MIN_COLD_DAYS else None,
    )
