"""IAM OIDC provider for GitHub Actions: no access keys are stored anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from bootstrap.subjects import AUDIENCE, ISSUER


@dataclass(frozen=True, kw_only=True)
class GithubIdentityArgs:
    """`existing_arn` is the account's existing provider; empty creates one."""

    stack: str
    existing_arn: str
    protect: bool


class GithubIdentity(pulumi.ComponentResource):
    """Output: `arn`, of the account's one provider for GitHub."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: GithubIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:bootstrap:GithubIdentity", name, {}, opts)
        self.arn = pulumi.Output.from_input(args.existing_arn) if args.existing_arn else self._provider_arn(name, args)
        self.register_outputs({"arn": self.arn})

    def _provider_arn(self, name: str, args: GithubIdentityArgs) -> pulumi.Output[str]:
        provider = iam.OpenIdConnectProvider(
            name,
            url=f"https://{ISSUER}",
            # No thumbprints: since July 2023 AWS verifies GitHub's certificate with its own root CAs.
            client_id_lists=[AUDIENCE],
            tags={"Stack": args.stack},
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        return provider.arn
