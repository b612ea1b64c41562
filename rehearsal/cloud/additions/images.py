"""AMI checks: launches and launch templates need an existing image."""

from __future__ import annotations

import re
from typing import Any

from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, MalformedAMIIdError, UnvailableAMIIdError
from moto.ec2.models import EC2Backend

from rehearsal.cloud.additions.gap import Gap
from rehearsal.cloud.additions.patching import validate_before

GAPS = [
    Gap(
        service="ec2",
        action="RunInstances",
        reason="moto launches instances from images that don't exist; here they are refused with AWS's error codes. "
        "CreateLaunchTemplate accepts any image, as on AWS",
    ),
    Gap(
        service="autoscaling",
        action="CreateAutoScalingGroup, UpdateAutoScalingGroup",
        reason="moto accepts launch templates whose image doesn't exist; here they are refused, as on AWS",
    ),
]

_IMAGE_ID = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")


def extend() -> None:
    validate_before(EC2Backend, "run_instances", _check_run)
    for method in ("create_auto_scaling_group", "update_auto_scaling_group"):
        validate_before(AutoScalingResponse, method, _check_group)


def image_error(ec2: Any, image: str) -> EC2ClientError | None:
    """The error of a launch from this image, or None."""
    if not _IMAGE_ID.fullmatch(image):
        return MalformedAMIIdError([image])
    if image in ec2.deleted_amis:
        return UnvailableAMIIdError(image)
    return None if image in ec2.amis else InvalidAMIIdError(image)


def _check_run(self: Any, image_id: str | None, *args: Any, **kwargs: Any) -> None:
    image = image_id or self._get_template_from_args(kwargs["launch_template"]).image_id
    if error := image_error(self, image):
        raise error


def _check_group(self: Any) -> None:
    """Before anything of the group is created or changed."""
    template, ec2 = self._get_param("LaunchTemplate", {}), self.autoscaling_backend.ec2_backend
    if template and (
        error := image_error(ec2, ec2._get_template_from_args({"Version": "$Default", **template}).image_id)
    ):
        raise ValidationError(f"You must use a valid fully-formed launch template. {error.message}")
