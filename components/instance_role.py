"""IAM role of the instances, with the least privileges for boot, config, logs and lifecycle hooks."""

from __future__ import annotations

import pulumi
from pulumi_aws import iam

from components import policy_documents
from components.alerts import Topic
from config.context import StackContext


class InstanceRole(pulumi.ComponentResource):
    """`repository_arn` is empty without a base image.

    Output: `profile_arn`, of the instance profile, known only once the role has its policy.
    """

    profile_arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        *,
        bucket_arn: pulumi.Input[str],
        topic: Topic,
        repository_arn: pulumi.Input[str] = "",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:access:InstanceRole", name, {}, opts)
        tags = {"Stack": context.stack}
        child = pulumi.ResourceOptions(parent=self)
        assumed = policy_documents.text(policy_documents.assumed_by("ec2.amazonaws.com"))
        path = policy_documents.role_path(context.stack)
        role = iam.Role(
            name,
            path=path,
            assume_role_policy=assumed,
            permissions_boundary=context.boundary or None,
            tags=tags,
            opts=child,
        )
        known = pulumi.Output.all(bucket_arn, topic.arn, topic.key_arn, repository_arn)
        policy = iam.RolePolicy(
            name, role=role.id, policy=known.apply(lambda arns: _policy(context, *arns)), opts=child
        )
        profile = iam.InstanceProfile(name, path=path, role=role.name, tags=tags, opts=child)
        # An instance that starts before its role has permissions fails to boot.
        self.profile_arn = pulumi.Output.all(profile.arn, policy.id).apply(lambda values: str(values[0]))
        self.register_outputs({"profile_arn": self.profile_arn})


def _policy(context: StackContext, bucket_arn: str, topic_arn: str, key_arn: str, repository_arn: str) -> str:
    return policy_documents.text(
        policy_documents.instance(
            context, bucket_arn=bucket_arn, topic_arn=topic_arn, key_arn=key_arn, repository_arn=repository_arn
        )
    )
