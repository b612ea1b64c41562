"""The name that users type leads to the load balancer."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import route53


@dataclass(frozen=True, kw_only=True)
class DnsNameArgs:
    domain: str
    hosted_zone_id: str
    balancer_dns_name: pulumi.Input[str]
    balancer_zone_id: pulumi.Input[str]


class DnsName(pulumi.ComponentResource):
    """An alias `record`, which costs nothing and follows the balancer's addresses."""

    def __init__(self, name: str, args: DnsNameArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("bluegreen:balancing:DnsName", name, {}, opts)
        alias = route53.RecordAliasArgs(
            name=args.balancer_dns_name, zone_id=args.balancer_zone_id, evaluate_target_health=False
        )
        self.record = route53.Record(
            name,
            zone_id=args.hosted_zone_id,
            name=args.domain,
            type="A",
            aliases=[alias],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
