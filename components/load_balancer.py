"""Application Load Balancer: 503 until a release is live, and preview rules that route a secret header to a color."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws import ec2, lb, ssm, vpc

from config.context import StackContext
from config.settings import HTTPS_PORT, LoadBalancerSettings
from fleet.colors import Color

# Forward secrecy and TLS 1.2 at least (Elastic Load Balancing, security policies).
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
PREVIEW_HEADER = "X-Bluegreen-Preview"
FIRST_PREVIEW_PRIORITY = 10
TOKEN_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs:
    """Outputs of other components: `target_groups` by color, and the bucket for access logs, if any.

    `tags`: additional ones of the load balancer itself, by which commands find the stack without its state.
    """

    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    target_groups: Mapping[Color, pulumi.Input[str]]
    log_bucket: pulumi.Input[str] = ""
    tags: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


class LoadBalancer(pulumi.ComponentResource):
    """Outputs: `arn`, `arn_suffix`, `dns_name`, `zone_id`, `security_group_id`, `listener_arn`, `preview_token`.

    The listener is the one with the live rule. Instances must wait for `preview_rules`: without them no load balancer
    uses their target group.
    """

    arn: pulumi.Output[str]
    arn_suffix: pulumi.Output[str]
    dns_name: pulumi.Output[str]
    zone_id: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    listener_arn: pulumi.Output[str]
    preview_token: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: LoadBalancerSettings,
        args: LoadBalancerArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:balancing:LoadBalancer", name, {}, opts)
        self._name, self._context, self._settings, self._args = name, context, settings, args
        self._child = pulumi.ResourceOptions(parent=self)
        group = self._security_group()
        load_balancer = self._load_balancer(group)
        listener = self._listener(load_balancer)
        token = self._preview_token()
        self.preview_rules = {color: self._preview_rule(color, listener, token.value) for color in Color}
        self.arn, self.arn_suffix = load_balancer.arn, load_balancer.arn_suffix
        self.dns_name, self.zone_id = load_balancer.dns_name, load_balancer.zone_id
        self.security_group_id, self.listener_arn = group.id, listener.arn
        self.preview_token = pulumi.Output.secret(token.value)
        self.register_outputs(
            {
                "arn": self.arn,
                "arn_suffix": self.arn_suffix,
                "dns_name": self.dns_name,
                "zone_id": self.zone_id,
                "security_group_id": self.security_group_id,
                "listener_arn": self.listener_arn,
                "preview_token": self.preview_token,
            }
        )

    def _security_group(self) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self._name,
            vpc_id=self._args.vpc_id,
            description="Load balancer: clients in, instances out",
            tags={"Name": f"{self._context.stack}-load-balancer", "Stack": self._context.stack},
            opts=self._child,
        )
        ports = {self._settings.http_port, HTTPS_PORT} if self._settings.certificate_arn else {self._settings.http_port}
        for port in sorted(ports):
            for cidr in self._settings.ingress_cidrs:
                vpc.SecurityGroupIngressRule(
                    f"{self._name}-in-{port}-{cidr}",
                    security_group_id=group.id,
                    description="Clients",
                    cidr_ipv4=cidr,
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    opts=self._child,
                )
        return group

    def _load_balancer(self, group: ec2.SecurityGroup) -> lb.LoadBalancer:
        args = self._args
        logs = lb.LoadBalancerAccessLogsArgs(bucket=args.log_bucket, prefix="balancer", enabled=True)
        return lb.LoadBalancer(
            self._name,
            load_balancer_type="application",
            subnets=args.subnet_ids,
            security_groups=[group.id],
            drop_invalid_header_fields=True,
            enable_deletion_protection=self._context.protect,
            access_logs=logs if self._settings.access_logs else None,
            tags={**args.tags, "Stack": self._context.stack},
            opts=pulumi.ResourceOptions(parent=self, protect=self._context.protect),
        )

    def _listener(self, load_balancer: lb.LoadBalancer) -> lb.Listener:
        """The listener with the live rule; with a certificate the HTTP one only redirects."""
        if not self._settings.certificate_arn:
            return self._plain_listener(load_balancer, _unavailable())
        self._plain_listener(load_balancer, _to_https())
        return lb.Listener(
            f"{self._name}-https",
            load_balancer_arn=load_balancer.arn,
            port=HTTPS_PORT,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=self._settings.certificate_arn,
            default_actions=[_unavailable()],
            tags={"Stack": self._context.stack},
            opts=self._child,
        )

    def _plain_listener(self, load_balancer: lb.LoadBalancer, action: lb.ListenerDefaultActionArgs) -> lb.Listener:
        return lb.Listener(
            f"{self._name}-http",
            load_balancer_arn=load_balancer.arn,
            port=self._settings.http_port,
            protocol="HTTP",
            default_actions=[action],
            tags={"Stack": self._context.stack},
            opts=self._child,
        )

    def _preview_token(self) -> ssm.Parameter:
        """Each run generates a token; the first one is retained, in the parameter and in the state."""
        return ssm.Parameter(
            f"{self._name}-preview-token",
            name=f"/bluegreen/{self._context.stack}/preview-token",
            description=f"Before a color's name in {PREVIEW_HEADER}: routes a request to that color, live or idle",
            type=ssm.ParameterType.SECURE_STRING,
            value=pulumi.Output.secret(secrets.token_hex(TOKEN_BYTES)),
            # A parameter that an interrupted run left must not block the next one.
            overwrite=True,
            tags={"Stack": self._context.stack},
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["value"]),
        )

    def _preview_rule(self, color: Color, listener: lb.Listener, token: pulumi.Output[str]) -> lb.ListenerRule:
        """One per color, so that a cutover changes none; it names both groups, so that both are health-checked."""
        value = token.apply(lambda secret: f"{secret}-{color}")
        header = lb.ListenerRuleConditionHttpHeaderArgs(http_header_name=PREVIEW_HEADER, values=[value])
        return lb.ListenerRule(
            f"{self._name}-preview-{color}",
            listener_arn=listener.arn,
            priority=FIRST_PREVIEW_PRIORITY + list(Color).index(color),
            conditions=[lb.ListenerRuleConditionArgs(http_header=header)],
            actions=[forward(self._args.target_groups, {color: 100, color.other: 0})],
            tags={"Stack": self._context.stack, "Role": "preview"},
            opts=self._child,
        )


def forward(groups: Mapping[Color, pulumi.Input[str]], weights: Mapping[Color, int]) -> lb.ListenerRuleActionArgs:
    """A forward action to both colors, always, so that a cutover changes weights and nothing else."""
    targets = [lb.ListenerRuleActionForwardTargetGroupArgs(arn=groups[color], weight=weights[color]) for color in Color]
    return lb.ListenerRuleActionArgs(type="forward", forward=lb.ListenerRuleActionForwardArgs(target_groups=targets))


def _unavailable() -> lb.ListenerDefaultActionArgs:
    answer = lb.ListenerDefaultActionFixedResponseArgs(
        content_type="text/plain", message_body="No release is live.", status_code="503"
    )
    return lb.ListenerDefaultActionArgs(type="fixed-response", fixed_response=answer)


def _to_https() -> lb.ListenerDefaultActionArgs:
    redirect = lb.ListenerDefaultActionRedirectArgs(port=str(HTTPS_PORT), protocol="HTTPS", status_code="HTTP_301")
    return lb.ListenerDefaultActionArgs(type="redirect", redirect=redirect)
