"""Resource name validation: AWS's length, characters and uniqueness."""

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

from rehearsal.cloud.additions.actions import EmulatorError
from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import validate_before

GAPS = [
    Gap(
        service="all",
        action="(names)",
        reason="moto accepts names that are too long or contain characters that AWS refuses; here names of load "
        "balancers, groups, launch templates, roles, profiles, policies, alarms, dashboards, rules, log groups, "
        "delivery streams, repositories, security groups and buckets are validated, with AWS's error codes",
    ),
    Gap(
        service="autoscaling, elbv2",
        action="CreateAutoScalingGroup, CreateLoadBalancer",
        reason="moto accepts a second one of the same name; here it is refused, also a load balancer with the same "
        "settings, for which AWS would return the first one",
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
class NameRule:
    """Allowed names for one parameter of one action, and the error code for others."""

    owner: type
    action: str
    parameter: str
    max_length: int
    pattern: str = r".+"
    min_length: int = 1
    code: str = "ValidationError"
    message: Callable[[str, NameRule], str] | None = None
    """For services whose error message differs from the usual one."""

    def check(self, response: Any) -> None:
        name = str(response._get_param(self.parameter) or "")
        short, long = len(name) < self.min_length, len(name) > self.max_length
        if short or long or not re.fullmatch(self.pattern, name, re.ASCII):
            raise EmulatorError(
                self.code, self.message(name, self) if self.message else self._constraint(name, long=long)
            )

    def _constraint(self, name: str, *, long: bool) -> str:
        member = self.parameter[0].lower() + self.parameter[1:]
        bound = f"have length less than or equal to {self.max_length}"
        must = bound if long else f"satisfy regular expression pattern: {self.pattern}"
        message = f"Value '{name}' at '{member}' failed to satisfy constraint: Member must {must}"
        return f"1 validation error detected: {message}"


def _load_balancer_message(name: str, rule: NameRule) -> str:
    if len(name) > rule.max_length:
        return f"The load balancer name '{name}' cannot be longer than '{rule.max_length}' characters"
    if re.fullmatch(r"[A-Za-z0-9-]+", name):
        return f"The load balancer name '{name}' cannot begin or end with '-', or begin with 'internal-'"
    return (
        f"The load balancer name '{name}' can only contain characters that are alphanumeric characters and hyphens(-)"
    )


def _security_group_message(name: str, _: NameRule) -> str:
    allowed = "at most 255 characters, not beginning with sg-"
    return f"Value ({name}) for parameter GroupName is invalid. Allowed are {allowed}"


RULES = [
    NameRule(
        owner=ELBV2Response,
        action="create_load_balancer",
        parameter="Name",
        max_length=32,
        pattern=r"(?!-|internal-)[A-Za-z0-9-]+(?<!-)",
        message=_load_balancer_message,
    ),
    NameRule(
        owner=AutoScalingResponse,
        action="create_auto_scaling_group",
        parameter="AutoScalingGroupName",
        max_length=255,
        pattern="[!-9;-~]+",
    ),
    NameRule(owner=AutoScalingResponse, action="put_scaling_policy", parameter="PolicyName", max_length=255),
    NameRule(
        owner=LaunchTemplates,
        action="create_launch_template",
        parameter="LaunchTemplateName",
        min_length=3,
        max_length=128,
        pattern=r"[A-Za-z0-9().\-/_]+",
        code="InvalidLaunchTemplateName.MalformedException",
        message=lambda _name, _rule: _MALFORMED_TEMPLATE,
    ),
    NameRule(
        owner=SecurityGroups,
        action="create_security_group",
        parameter="GroupName",
        max_length=255,
        pattern="(?!sg-).+",
        code="InvalidParameterValue",
        message=_security_group_message,
    ),
    NameRule(owner=IamResponse, action="create_role", parameter="RoleName", max_length=64, pattern=_IAM),
    NameRule(
        owner=IamResponse,
        action="create_instance_profile",
        parameter="InstanceProfileName",
        max_length=128,
        pattern=_IAM,
    ),
    NameRule(owner=IamResponse, action="put_role_policy", parameter="PolicyName", max_length=128, pattern=_IAM),
    NameRule(owner=IamResponse, action="create_policy", parameter="PolicyName", max_length=128, pattern=_IAM),
    NameRule(owner=CloudWatchResponse, action="put_metric_alarm", parameter="AlarmName", max_length=255),
    NameRule(owner=CloudWatchResponse, action="put_composite_alarm", parameter="AlarmName", max_length=255),
    NameRule(
        owner=CloudWatchResponse,
        action="put_dashboard",
        parameter="DashboardName",
        max_length=255,
        pattern="[A-Za-z0-9_-]+",
        code="InvalidParameterInput",
    ),
    NameRule(
        owner=EventsHandler,
        action="put_rule",
        parameter="Name",
        max_length=64,
        pattern=r"[\.\-_A-Za-z0-9]+",
        code="ValidationException",
    ),
    NameRule(
        owner=LogsResponse,
        action="create_log_group",
        parameter="logGroupName",
        max_length=512,
        pattern=r"[\.\-_/#A-Za-z0-9]+",
        code="InvalidParameterException",
    ),
    NameRule(
        owner=FirehoseResponse,
        action="create_delivery_stream",
        parameter="DeliveryStreamName",
        max_length=64,
        pattern="[a-zA-Z0-9_.-]+",
        code="ValidationException",
    ),
    NameRule(
        owner=ECRResponse,
        action="create_repository",
        parameter="repositoryName",
        max_length=256,
        pattern=_REPOSITORY,
        code="InvalidParameterException",
    ),
]


def extend() -> None:
    for rule in RULES:
        validate_before(rule.owner, rule.action, rule.check)
    validate_before(AutoScalingResponse, "create_auto_scaling_group", _check_group_is_new)
    validate_before(ELBV2Response, "create_load_balancer", _check_load_balancer_is_new)
    validate_before(S3Backend, "create_bucket", _check_bucket)


def _check_group_is_new(self: Any) -> None:
    name = self._get_param("AutoScalingGroupName")
    if name in self.autoscaling_backend.autoscaling_groups:
        message = f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
        raise EmulatorError("AlreadyExists", message)


def _check_load_balancer_is_new(self: Any) -> None:
    name = self._get_param("Name")
    if any(load_balancer.name == name for load_balancer in self.elbv2_backend.load_balancers.values()):
        message = f"A load balancer with the same name '{name}' exists, but with different settings"
        raise EmulatorError("DuplicateLoadBalancerName", message)


def _check_bucket(_: Any, bucket_name: str, *args: Any, **kwargs: Any) -> None:
    if not _BUCKET.fullmatch(bucket_name) or ".." in bucket_name or _is_address(bucket_name):
        raise InvalidBucketName


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
