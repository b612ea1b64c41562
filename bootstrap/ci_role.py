"""IAM role that GitHub Actions jobs of the repository assume with OIDC tokens, for an hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from bootstrap import ci_policies
from bootstrap.ci_policies import Account
from components.policy_documents import Document, text


@dataclass(frozen=True, kw_only=True)
class CiRoleArgs:
    """`job` ends the role's name. `boundary_arn` is None for a read-only role, which needs none."""

    stack: str
    account: Account
    job: str
    provider_arn: pulumi.Input[str]
    subjects: Sequence[str]
    policy: pulumi.Input[Document]
    boundary_arn: pulumi.Input[str] | None = None


class CiRole(pulumi.ComponentResource):
    """Output: `arn`, known only once the role has its policy."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: CiRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:bootstrap:CiRole", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            name,
            # Fixed, because GitHub's variables contain the ARN.
            name=f"{args.account.project}-{args.job}",
            path=args.account.ci_path,
            assume_role_policy=pulumi.Output.from_input(args.provider_arn).apply(
                lambda arn: text(ci_policies.trust(arn, args.subjects))
            ),
            permissions_boundary=args.boundary_arn,
            tags={"Stack": args.stack},
            opts=child,
        )
        document = pulumi.Output.from_input(args.policy).apply(text)
        policy = iam.RolePolicy(name, role=role.name, policy=document, opts=child)
        self.arn = pulumi.Output.all(role.arn, policy.id).apply(lambda known: str(known[0]))
        self.register_outputs({"arn": self.arn})
