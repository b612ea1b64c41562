"""Permissions boundary of the deploy role and of every role that it creates."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from bootstrap import ci_policies
from bootstrap.ci_policies import Account, Backend
from components.policy_documents import text


@dataclass(frozen=True, kw_only=True)
class BoundaryArgs:
    stack: str
    account: Account
    backend: pulumi.Input[Backend]


class Boundary(pulumi.ComponentResource):
    """Output: `arn`. The policy refers to itself, so its name is fixed; changes are made in place."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: BoundaryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:bootstrap:Boundary", name, {}, opts)
        account = args.account
        policy = iam.Policy(
            name,
            name=account.boundary_name,
            path=account.ci_path,
            policy=pulumi.Output.from_input(args.backend).apply(
                lambda backend: text(ci_policies.boundary(account, backend))
            ),
            tags={"Stack": args.stack},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = policy.arn
        self.register_outputs({"arn": self.arn})
