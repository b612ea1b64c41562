"""KMS key of the Pulumi state, and of the secrets in state and stack config."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import kms

from bootstrap import ci_policies
from bootstrap.ci_policies import Account
from components.policy_documents import text

DELETION_DAYS = 30  # KMS's maximum: without the key, state and secrets are lost


@dataclass(frozen=True, kw_only=True)
class StateKeyArgs:
    stack: str
    account: Account
    protect: bool


class StateKey(pulumi.ComponentResource):
    """Output: `arn`, of a key that AWS rotates each year; old key material still decrypts."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: StateKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:bootstrap:StateKey", name, {}, opts)
        key = kms.Key(
            name,
            description=f"Pulumi state and secrets of {args.account.project}",
            policy=text(ci_policies.key_policy(args.account)),
            enable_key_rotation=True,
            deletion_window_in_days=DELETION_DAYS,
            tags={"Stack": args.stack},
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        alias = f"alias/{args.account.project}-state"
        kms.Alias(name, name=alias, target_key_id=key.key_id, opts=pulumi.ResourceOptions(parent=self))
        self.arn = key.arn
        self.register_outputs({"arn": self.arn})
