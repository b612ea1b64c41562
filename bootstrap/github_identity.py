"""AWS believes GitHub who a job is: no access keys are kept anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from bootstrap.subjects import AUDIENCE, ISSUER


@dataclass(frozen=True, kw_only=True)
class GithubIdentityArgs:
    """`existing_arn` is a provider's that the account has already, empty to make it."""

    stack: str
    existing_arn: str
    protect: bool


class GithubIdentity(pulumi.ComponentResource):
    """Output: `arn`, of the account's one provider for GitHub."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: GithubIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:bootstrap:GithubIdentity", name, {}, opts)
        self.arn = pulumi.Output.from_input(args.existing_arn) if args.existing_arn else self._trusted(name, args)
        self.register_outputs({"arn": self.arn})

    def _trusted(self, name: str, args: GithubIdentityArgs) -> pulumi.Output[str]:
        provider = iam.OpenIdConnectProvider(
            name,
            url=f"https://{ISSUER}",
            # No thumbprints: since July 2023 AWS checks GitHub's certificate against its own root authorities.
            client_id_lists=[AUDIENCE],
            tags={"Stack": args.stack},
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        return provider.arn
