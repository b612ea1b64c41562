"""Names as AWS allows them, and each only once where AWS wants that."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudwatch.responses import CloudWatchResponse
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.responses.security_groups import SecurityGroups
from moto.ecr.responses import ECRResponse
from moto.elbv2.responses import ELBV2Response
from moto.events.responses import EventsHandler
from moto.firehose.responses import FirehoseResponse
from moto.iam.responses import IamResponse
from moto.logs.responses import LogsResponse
from moto.s3.exceptions import InvalidBucketName
from moto.s3.models import S3Backend

from rehearsal.cloud.additions.actions import Refused
from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import check_before

GAPS = [
    Gap(
        service="all",
        action="(names)",
        reason="moto takes names that are too long or hold other characters than AWS allows; here those of load "
        "balancers, groups, launch templates, roles, profiles, policies, alarms, dashboards, rules, log groups, "
        "delivery streams, repositories, security groups and buckets are refused by AWS's codes",
    ),
    Gap(
        service="autoscaling, elbv2",
        action="CreateAutoScalingGroup, CreateLoadBalancer",
        reason="moto takes a second one of the same name; here it is refused, also a load balancer with the very "
        "settings of the first, which AWS would answer with the first one",
    ),
]

_IAM = r"[\w+=,.@-]+"
_REPOSITORY = r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"
_MALFORMED_TEMPLATE = (
    "The specified launch template name is invalid. A launch template name must be between 3 and 128 characters, and "
    "may contain letters, numbers, and the following characters: - ( ) . / _."
)
_BUCKET = re.compile(r"(?!xn--|sthree-)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?<!-s3alias)(?<!--ol-s3)")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What one parameter of one action may be, and the code of the error that says no."""

    owner: type
    action: str
    parameter: str
    longest: int
    pattern: str = r".+"
    shortest: int = 1
    code: str = "ValidationError"
    words: Callable[[str, Rule], str] | None = None
    """In the place of what most of AWS's services say."""

    def check(self, response: Any) -> None:
        name = str(response._get_param(self.parameter) or "")
        short, long = len(name) < self.shortest, len(name) > self.longest
        if short or long or not re.fullmatch(self.pattern, name, re.ASCII):
            raise Refused(self.code, self.words(name, self) if self.words else self._constraint(name, long=long))

    def _constraint(self, name: str, *, long: bool) -> str:
        member = self.parameter[0].lower() + self.parameter[1:]
        bound = f"have length less than or equal to {self.longest}"
        must = bound if long else f"satisfy regular expression pattern: {self.pattern}"
        told = f"Value '{name}' at '{member}' failed to satisfy constraint: Member must {must}"
        return f"1 validation error detected: {told}"


def _of_balancer(name: str, rule: Rule) -> str:
    if len(name) > rule.longest:
        return f"The load balancer name '{name}' cannot be longer than '{rule.longest}' characters"
    if re.fullmatch(r"[A-Za-z0-9-]+", name):
        return f"The load balancer name '{name}' cannot begin or end with '-', or begin with 'internal-'"
    return (
        f"The load balancer name '{name}' can only contain characters that are alphanumeric characters and hyphens(-)"
    )


def _of_security_group(name: str, _: Rule) -> str:
    return f"Value ({name}) for parameter GroupName is invalid. It has at most 255 characters, and no sg- before them"


RULES = [
    Rule(
        owner=ELBV2Response,
        action="create_load_balancer",
        parameter="Name",
        longest=32,
        pattern=r"(?!-|internal-)[A-Za-z0-9-]+(?<!-)",
        words=_of_balancer,
    ),
    Rule(
        owner=AutoScalingResponse,
        action="create_auto_scaling_group",
        parameter="AutoScalingGroupName",
        longest=255,
        pattern="[!-9;-~]+",
    ),
    Rule(owner=AutoScalingResponse, action="put_scaling_policy", parameter="PolicyName", longest=255),
    Rule(
        owner=LaunchTemplates,
        action="create_launch_template",
        parameter="LaunchTemplateName",
        shortest=3,
        longest=128,
        pattern=r"[A-Za-z0-9().\-/_]+",
        code="InvalidLaunchTemplateName.MalformedException",
        words=lambda _name, _rule: _MALFORMED_TEMPLATE,
    ),
    Rule(
        owner=SecurityGroups,
        action="create_security_group",
        parameter="GroupName",
        longest=255,
        pattern="(?!sg-).+",
        code="InvalidParameterValue",
        words=_of_security_group,
    ),
    Rule(owner=IamResponse, action="create_role", parameter="RoleName", longest=64, pattern=_IAM),
    Rule(
        owner=IamResponse, action="create_instance_profile", parameter="InstanceProfileName", longest=128, pattern=_IAM
    ),
    Rule(owner=IamResponse, action="put_role_policy", parameter="PolicyName", longest=128, pattern=_IAM),
    Rule(owner=IamResponse, action="create_policy", parameter="PolicyName", longest=128, pattern=_IAM),
    Rule(owner=CloudWatchResponse, action="put_metric_alarm", parameter="AlarmName", longest=255),
    Rule(owner=CloudWatchResponse, action="put_composite_alarm", parameter="AlarmName", longest=255),
    Rule(
        owner=CloudWatchResponse,
        action="put_dashboard",
        parameter="DashboardName",
        longest=255,
        pattern="[A-Za-z0-9_-]+",
        code="InvalidParameterInput",
    ),
    Rule(
        owner=EventsHandler,
        action="put_rule",
        parameter="Name",
        longest=64,
        pattern=r"[\.\-_A-Za-z0-9]+",
        code="ValidationException",
    ),
    Rule(
        owner=LogsResponse,
        action="create_log_group",
        parameter="logGroupName",
        longest=512,
        pattern=r"[\.\-_/#A-Za-z0-9]+",
        code="InvalidParameterException",
    ),
    Rule(
        owner=FirehoseResponse,
        action="create_delivery_stream",
        parameter="DeliveryStreamName",
        longest=64,
        pattern="[a-zA-Z0-9_.-]+",
        code="ValidationException",
    ),
    Rule(
        owner=ECRResponse,
        action="create_repository",
        parameter="repositoryName",
        longest=256,
        pattern=_REPOSITORY,
        code="InvalidParameterException",
    ),
]


def extend() -> None:
    for rule in RULES:
        check_before(rule.owner, rule.action, rule.check)
    check_before(AutoScalingResponse, "create_auto_scaling_group", _check_group_is_new)
    check_before(ELBV2Response, "create_load_balancer", _check_balancer_is_new)
    check_before(S3Backend, "create_bucket", _check_bucket)


def _check_group_is_new(self: Any) -> None:
    name = self._get_param("AutoScalingGroupName")
    if name in self.autoscaling_backend.autoscaling_groups:
        told = f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
        raise Refused("AlreadyExists", told)


def _check_balancer_is_new(self: Any) -> None:
    name = self._get_param("Name")
    if any(balancer.name == name for balancer in self.elbv2_backend.load_balancers.values()):
        told = f"A load balancer with the same name '{name}' exists, but with different settings"
        raise Refused("DuplicateLoadBalancerName", told)


def _check_bucket(_: Any, bucket_name: str, *args: Any, **kwargs: Any) -> None:
    if not _BUCKET.fullmatch(bucket_name) or ".." in bucket_name or _is_address(bucket_name):
        raise InvalidBucketName


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
