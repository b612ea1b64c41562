"""IAM role for an AWS service."""

from __future__ import annotations

import pulumi
from pulumi_aws import iam

from components import policy_documents
from components.policy_documents import Document
from config.context import StackContext


def service_role(
    name: str,
    context: StackContext,
    *,
    trust: pulumi.Input[Document],
    policy: pulumi.Input[Document],
    opts: pulumi.ResourceOptions,
) -> pulumi.Output[str]:
    """Its ARN, known only once it has its policy: AWS validates a role on use."""
    role = iam.Role(
        name,
        path=policy_documents.role_path(context.stack),
        assume_role_policy=pulumi.Output.from_input(trust).apply(policy_documents.text),
        permissions_boundary=context.boundary or None,
        tags={"Stack": context.stack},
        opts=opts,
    )
    granted = iam.RolePolicy(
        name, role=role.id, policy=pulumi.Output.from_input(policy).apply(policy_documents.text), opts=opts
    )
    return pulumi.Output.all(role.arn, granted.id).apply(lambda values: str(values[0]))
