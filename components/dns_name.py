"""Route 53 alias record of the load balancer."""

from __future__ import annotations

import pulumi
from pulumi_aws import route53

from config.settings import LoadBalancerSettings


class DnsName(pulumi.ComponentResource):
    """An alias `record`: free of charge, and it follows the load balancer's addresses."""

    def __init__(
        self,
        name: str,
        settings: LoadBalancerSettings,
        *,
        load_balancer_dns_name: pulumi.Input[str],
        load_balancer_zone_id: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:balancing:DnsName", name, {}, opts)
        alias = route53.RecordAliasArgs(
            name=load_balancer_dns_name, zone_id=load_balancer_zone_id, evaluate_target_health=False
        )
        self.record = route53.Record(
            name,
            zone_id=settings.hosted_zone_id,
            name=settings.domain,
            type="A",
            aliases=[alias],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
