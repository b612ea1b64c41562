"""The role of every machine of the stack, with the least that boot, config, logs and lifecycle take."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from components import policy_documents
from components.policy_documents import Place


@dataclass(frozen=True, kw_only=True)
class InstanceRoleArgs:
    """`key_arn` is the topic's key, `repository_arn` the base image's, None without one.

    `boundary` is a policy's ARN, empty for none.
    """

    place: Place
    bucket_arn: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    repository_arn: pulumi.Input[str] | None = None
    boundary: str = ""


class InstanceRole(pulumi.ComponentResource):
    """Output: `profile_arn`, of the instance profile, known only when the role has its policy."""

    profile_arn: pulumi.Output[str]

    def __init__(self, name: str, args: InstanceRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:access:InstanceRole", name, {}, opts)
        tags = {"Stack": args.place.stack}
        child = pulumi.ResourceOptions(parent=self)
        assumed = policy_documents.text(policy_documents.assumed_by("ec2.amazonaws.com"))
        path = policy_documents.role_path(args.place.stack)
        role = iam.Role(
            name,
            path=path,
            assume_role_policy=assumed,
            permissions_boundary=args.boundary or None,
            tags=tags,
            opts=child,
        )
        policy = iam.RolePolicy(name, role=role.id, policy=_policy(args), opts=child)
        profile = iam.InstanceProfile(name, path=path, role=role.name, tags=tags, opts=child)
        # A machine that starts before its role may do anything fails its boot.
        self.profile_arn = pulumi.Output.all(profile.arn, policy.id).apply(lambda values: str(values[0]))
        self.register_outputs({"profile_arn": self.profile_arn})


def _policy(args: InstanceRoleArgs) -> pulumi.Output[str]:
    return pulumi.Output.all(args.bucket_arn, args.topic_arn, args.key_arn, args.repository_arn or "").apply(
        lambda arns: policy_documents.text(
            policy_documents.machine(
                args.place, bucket_arn=arns[0], topic_arn=arns[1], key_arn=arns[2], repository_arn=arns[3]
            )
        )
    )
