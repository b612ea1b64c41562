"""Target group and Auto Scaling group of one color; the latter exists while the color has a release."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import autoscaling, ec2, lb

from ami.boot.user_data import LAUNCH_HOOK, TERMINATION_HOOK, UserData
from config.colors import ColorSettings
from config.context import StackContext
from config.settings import AppSettings, InstanceSettings
from fleet.colors import Color

# An instance is ready when its launch hook completes; then the load balancer's first health checks must reach it.
HEALTH_CHECK_GRACE_S = 60
DRAIN_RESERVE_S = 30  # for the instance to notice that it is terminating, and to complete the hook
GROUP_METRICS = [
    autoscaling.Metric.GROUP_DESIRED_CAPACITY,
    autoscaling.Metric.GROUP_IN_SERVICE_INSTANCES,
    autoscaling.Metric.GROUP_TOTAL_INSTANCES,
]
HEALTHY_THRESHOLD, UNHEALTHY_THRESHOLD = 2, 2
HEALTH_CHECK_TIMEOUT_S = 4  # below the minimum interval


@dataclass(frozen=True, kw_only=True)
class FleetHooks:
    """Resource hooks: `guard` runs before the launch template is created, `capacity` after the group is."""

    guard: pulumi.ResourceHook
    capacity: pulumi.ResourceHook


@dataclass(frozen=True, kw_only=True)
class FleetArgs:
    """Outputs of other components that the instances of a color need."""

    user_data: pulumi.Input[UserData]
    target_group_arn: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    security_group_id: pulumi.Input[str]
    profile_arn: pulumi.Input[str]
    hooks: FleetHooks
    preview_rules: Sequence[pulumi.Resource]


class Targets(pulumi.ComponentResource):
    """A color's target group, which outlives its releases. Outputs: `arn`, `arn_suffix`."""

    arn: pulumi.Output[str]
    arn_suffix: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        settings: AppSettings,
        color: Color,
        vpc_id: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:color:Targets", name, {}, opts)
        check = lb.TargetGroupHealthCheckArgs(
            path=settings.health_path,
            matcher="200",
            interval=settings.health_check_interval,
            timeout=HEALTH_CHECK_TIMEOUT_S,
            healthy_threshold=HEALTHY_THRESHOLD,
            unhealthy_threshold=UNHEALTHY_THRESHOLD,
        )
        group = lb.TargetGroup(
            name,
            vpc_id=vpc_id,
            port=settings.port,
            protocol="HTTP",
            target_type="instance",
            deregistration_delay=settings.deregistration_delay,
            health_check=check,
            tags={"Stack": context.stack, "Color": color},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn, self.arn_suffix = group.arn, group.arn_suffix
        self.register_outputs({"arn": self.arn, "arn_suffix": self.arn_suffix})


class ColorFleet(pulumi.ComponentResource):
    """A launch template and an Auto Scaling group of one release; another release or AMI creates new ones.

    Outputs: `group_name`, `launch_template_id`. `group` is what the live rule waits for.
    """

    group_name: pulumi.Output[str]
    launch_template_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: StackContext,
        color: Color,
        settings: ColorSettings,
        app: AppSettings,
        instances: InstanceSettings,
        args: FleetArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("bluegreen:color:ColorFleet", name, {}, opts)
        self._name, self._context, self._color, self._args = name, context, color, args
        self._settings, self._app, self._instances = settings, app, instances
        template = self._launch_template()
        self.group = self._scaling_group(template)
        self._target_tracking()
        self.group_name, self.launch_template_id = self.group.name, template.id
        self.register_outputs({"group_name": self.group_name, "launch_template_id": self.launch_template_id})

    @property
    def _prefix(self) -> str:
        return f"{self._context.stack}-{self._color}-{self._settings.version}-"

    @property
    def _tags(self) -> dict[str, str]:
        """Tags of template and group, by which commands find a color's release and AMI."""
        return {
            "Name": self._prefix.rstrip("-"),
            "Stack": self._context.stack,
            "Color": self._color,
            "Release": self._settings.version,
            "ReleaseUrl": self._settings.url,
            "Ami": self._settings.ami,
        }

    @property
    def _instance_tags(self) -> dict[str, str]:
        return {**self._context.tags, **self._tags}

    def _launch_template(self) -> ec2.LaunchTemplate:
        args = self._args
        return ec2.LaunchTemplate(
            self._name,
            name_prefix=self._prefix,
            image_id=self._settings.ami,
            instance_type=self._instances.type,
            iam_instance_profile=ec2.LaunchTemplateIamInstanceProfileArgs(arn=args.profile_arn),
            vpc_security_group_ids=[args.security_group_id],
            user_data=pulumi.Output.from_input(args.user_data).apply(_encoded),
            update_default_version=True,
            metadata_options=_metadata_options(),
            block_device_mappings=[_root_volume(self._instances.root_volume_gib)],
            tag_specifications=[
                ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=self._instance_tags)
                for kind in ("instance", "volume", "network-interface")
            ],
            tags=self._tags,
            # The guard refuses another release or AMI on a live color; both create a new template. So does other user
            # data: else instances with the old port, path or checksum would run alongside new ones.
            opts=pulumi.ResourceOptions(
                parent=self,
                replace_on_changes=["imageId", "userData"],
                hooks=pulumi.ResourceHookBinding(before_create=[args.hooks.guard]),
            ),
        )

    def _scaling_group(self, template: ec2.LaunchTemplate) -> autoscaling.Group:
        args = self._args
        return autoscaling.Group(
            self._name,
            name_prefix=self._prefix,
            min_size=self._settings.min_size,
            max_size=self._settings.max_size,
            wait_for_capacity_timeout="0",  # the hook waits, and ends early when the group may launch no more
            vpc_zone_identifiers=args.subnet_ids,
            target_group_arns=[args.target_group_arn],
            health_check_type="ELB",
            health_check_grace_period=HEALTH_CHECK_GRACE_S,
            default_instance_warmup=0,
            # The number, never $Latest: a change of the template must be a change of the group.
            launch_template=autoscaling.GroupLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            instance_maintenance_policy=autoscaling.GroupInstanceMaintenancePolicyArgs(
                min_healthy_percentage=100, max_healthy_percentage=200
            ),
            initial_lifecycle_hooks=_lifecycle_hooks(self._app),
            enabled_metrics=GROUP_METRICS,
            tags=[
                autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True)
                for key, value in self._instance_tags.items()
            ],
            opts=pulumi.ResourceOptions(
                parent=self,
                # Without the preview rules no load balancer uses the target group, and no target becomes healthy.
                depends_on=list(args.preview_rules),
                # AWS takes initial hooks on creation only.
                replace_on_changes=["launchTemplate.id", "initialLifecycleHooks"],
                # Auto Scaling decides after creation, and a cutover scales the group to the live color's capacity.
                ignore_changes=["desiredCapacity"],
                hooks=pulumi.ResourceHookBinding(after_create=[args.hooks.capacity]),
            ),
        )

    def _target_tracking(self) -> None:
        metric = autoscaling.PolicyTargetTrackingConfigurationPredefinedMetricSpecificationArgs(
            predefined_metric_type="ASGAverageCPUUtilization"
        )
        autoscaling.Policy(
            f"{self._name}-cpu",
            autoscaling_group_name=self.group.name,
            policy_type="TargetTrackingScaling",
            target_tracking_configuration=autoscaling.PolicyTargetTrackingConfigurationArgs(
                predefined_metric_specification=metric, target_value=float(self._instances.target_cpu_percent)
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _encoded(data: UserData) -> str:
    return base64.b64encode(data.render().encode()).decode()


def _metadata_options() -> ec2.LaunchTemplateMetadataOptionsArgs:
    """IMDSv2 only, and one hop: the app's container is a hop away and can't get the instance's credentials."""
    return ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1, instance_metadata_tags="enabled"
    )


def _root_volume(gib: int) -> ec2.LaunchTemplateBlockDeviceMappingArgs:
    volume = ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
        volume_size=gib,
        volume_type="gp3",
        encrypted="true",
        delete_on_termination="true",  # the provider wants strings
    )
    # The root device of Debian's AMIs; another name would add a second volume.
    return ec2.LaunchTemplateBlockDeviceMappingArgs(device_name="/dev/xvda", ebs=volume)


def _lifecycle_hooks(app: AppSettings) -> list[autoscaling.GroupInitialLifecycleHookArgs]:
    """An instance is in service once its boot completes the launch hook, and terminates when the app has drained."""
    return [
        autoscaling.GroupInitialLifecycleHookArgs(
            name=LAUNCH_HOOK,
            lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
            default_result="ABANDON",
            heartbeat_timeout=app.boot_timeout,
        ),
        autoscaling.GroupInitialLifecycleHookArgs(
            name=TERMINATION_HOOK,
            lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
            default_result="CONTINUE",
            heartbeat_timeout=app.drain_timeout + DRAIN_RESERVE_S,
        ),
    ]
