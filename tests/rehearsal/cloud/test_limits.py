"""Validation as on AWS, with the same error codes: names, duplicates, images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.rehearsal.cloud.fleet import REGION, Maker, Running, network

TEMPLATES = itertools.count()
TRUST = '{"Version": "2012-10-17", "Statement": []}'
ALLOW = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}'
IMAGE, NO_IMAGE = "ami-0deb1a12000000001", "ami-0123456789abcdef0"
BACKUP = {"RoleARN": "arn:aws:iam::123456789012:role/any", "BucketARN": "arn:aws:s3:::any"}
ALARM = {
    "MetricName": "any",
    "Namespace": "any",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Statistic": "Sum",
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanThreshold",
}


@contextmanager
def refused(code: str, message: str = "") -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    error, status = caught.value.response["Error"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert (error["Code"], status // 100) == (code, 4)
    assert message in error["Message"]


def create(cloud: Running, kind: str, name: str) -> Any:
    """Create a resource of this kind; only its name may be invalid."""
    ec2, elbv2, iam, cloudwatch = (cloud.client(service) for service in ("ec2", "elbv2", "iam", "cloudwatch"))
    region = {"LocationConstraint": REGION}
    calls: dict[str, Callable[[], Any]] = {
        "load balancer": lambda: elbv2.create_load_balancer(Name=name, Subnets=network(cloud)),
        "target group": lambda: elbv2.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc(cloud)),
        "group": lambda: create_group(cloud, name, IMAGE),
        "launch template": lambda: ec2.create_launch_template(
            LaunchTemplateName=name, LaunchTemplateData={"ImageId": NO_IMAGE}
        ),
        "security group": lambda: ec2.create_security_group(GroupName=name, Description="any", VpcId=vpc(cloud)),
        "role": lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST),
        "profile": lambda: iam.create_instance_profile(InstanceProfileName=name),
        "policy": lambda: iam.create_policy(PolicyName=name, PolicyDocument=ALLOW),
        "role policy": lambda: iam.put_role_policy(RoleName=role(cloud), PolicyName=name, PolicyDocument=ALLOW),
        "topic": lambda: cloud.client("sns").create_topic(Name=name),
        "alarm": lambda: cloudwatch.put_metric_alarm(AlarmName=name, **ALARM),
        "composite alarm": lambda: cloudwatch.put_composite_alarm(AlarmName=name, AlarmRule="FALSE"),
        "dashboard": lambda: cloudwatch.put_dashboard(DashboardName=name, DashboardBody='{"widgets": []}'),
        "rule": lambda: cloud.client("events").put_rule(Name=name, EventPattern='{"source": ["any"]}'),
        "log group": lambda: cloud.client("logs").create_log_group(logGroupName=name),
        "delivery stream": lambda: cloud.client("firehose").create_delivery_stream(
            DeliveryStreamName=name, ExtendedS3DestinationConfiguration=BACKUP
        ),
        "repository": lambda: cloud.client("ecr").create_repository(repositoryName=name),
        "bucket": lambda: cloud.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=region),
    }
    return calls[kind]()


def vpc(cloud: Running) -> str:
    """The account's default VPC."""
    found = cloud.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    return str(found[0]["VpcId"])


def role(cloud: Running) -> str:
    iam = cloud.client("iam")
    if not iam.list_roles()["Roles"]:
        iam.create_role(RoleName="app", AssumeRolePolicyDocument=TRUST)
    return "app"


def create_group(cloud: Running, name: str, image: str) -> Any:
    ec2 = cloud.client("ec2")
    data = {"ImageId": image, "InstanceType": "t3.small"}
    created = ec2.create_launch_template(LaunchTemplateName=f"template-{next(TEMPLATES)}", LaunchTemplateData=data)
    return cloud.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=0,
        MaxSize=1,
        VPCZoneIdentifier=network(cloud)[0],
        LaunchTemplate={"LaunchTemplateId": created["LaunchTemplate"]["LaunchTemplateId"]},
        LifecycleHookSpecificationList=[
            {"LifecycleHookName": "boot", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
        ],
    )


@pytest.mark.parametrize(
    ("kind", "max_length", "code"),
    [
        ("load balancer", 32, "ValidationError"),
        ("target group", 32, "ValidationError"),
        ("group", 255, "ValidationError"),
        ("launch template", 128, "InvalidLaunchTemplateName.MalformedException"),
        ("security group", 255, "InvalidParameterValue"),
        ("role", 64, "ValidationError"),
        ("profile", 128, "ValidationError"),
        ("policy", 128, "ValidationError"),
        ("role policy", 128, "ValidationError"),
        ("topic", 256, "InvalidParameter"),
        ("alarm", 255, "ValidationError"),
        ("composite alarm", 255, "ValidationError"),
        ("dashboard", 255, "InvalidParameterInput"),
        ("rule", 64, "ValidationException"),
        ("log group", 512, "InvalidParameterException"),
        ("delivery stream", 64, "ValidationException"),
        ("repository", 256, "InvalidParameterException"),
        ("bucket", 63, "InvalidBucketName"),
    ],
)
def test_names_have_aws_length_limit(cloud: Running, kind: str, max_length: int, code: str) -> None:
    create(cloud, kind, "a" * max_length)
    with refused(code):
        create(cloud, kind, "b" * (max_length + 1))


@pytest.mark.parametrize(
    ("kind", "names", "code"),
    [
        ("load balancer", ["-a", "a-", "a_b", "internal-a"], "ValidationError"),
        ("target group", ["-a", "a-", "a_b"], "ValidationError"),
        ("group", ["a:b", "a b"], "ValidationError"),
        ("launch template", ["ab", "a b", "a:b"], "InvalidLaunchTemplateName.MalformedException"),
        ("security group", ["sg-a"], "InvalidParameterValue"),
        ("role", ["a b", "a/b"], "ValidationError"),
        ("profile", ["a b", "a/b"], "ValidationError"),
        ("topic", ["a b", "a.b"], "InvalidParameter"),
        ("dashboard", ["a b", "a.b"], "InvalidParameterInput"),
        ("rule", ["a b", "a/b"], "ValidationException"),
        ("log group", ["a b", "a:b"], "InvalidParameterException"),
        ("delivery stream", ["a b", "a/b"], "ValidationException"),
        ("repository", ["Ab", "a//b", "-a"], "InvalidParameterException"),
        ("bucket", ["ab", "aBc", "a_b", "-ab", "ab-", "a..b", "192.168.1.1", "xn--a"], "InvalidBucketName"),
    ],
)
def test_names_have_only_the_characters_that_aws_allows(cloud: Running, kind: str, names: list[str], code: str) -> None:
    for name in names:
        with refused(code):
            create(cloud, kind, name)


def test_an_invalid_names_message_is_aws_own(cloud: Running) -> None:
    long = "a" * 65
    with refused("ValidationError", f"The load balancer name '{long}' cannot be longer than '32' characters"):
        create(cloud, "load balancer", long)
    constraint = "failed to satisfy constraint: Member must have length less than or equal to 64"
    with refused("ValidationError", f"1 validation error detected: Value '{long}' at 'roleName' {constraint}"):
        create(cloud, "role", long)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("load balancer", "DuplicateLoadBalancerName"),
        ("target group", "DuplicateTargetGroupName"),
        ("launch template", "InvalidLaunchTemplateName.AlreadyExistsException"),
        ("security group", "InvalidGroup.Duplicate"),
        ("role", "EntityAlreadyExists"),
        ("profile", "EntityAlreadyExists"),
        ("policy", "EntityAlreadyExists"),
        ("log group", "ResourceAlreadyExistsException"),
        ("repository", "RepositoryAlreadyExistsException"),
    ],
)
def test_a_duplicate_name_is_refused(cloud: Running, kind: str, code: str) -> None:
    create(cloud, kind, "app")
    with refused(code):
        create(cloud, kind, "app")


def test_a_second_group_of_the_same_name_does_not_change_the_first(make_fleet: Maker, cloud: Running) -> None:
    fleet, autoscaling = make_fleet(), cloud.client("autoscaling")
    before = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=fleet.group)
    with refused("AlreadyExists", f"A group with the name {fleet.group} already exists"):
        create_group(cloud, fleet.group, IMAGE)
    after = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=fleet.group)
    assert after["LifecycleHooks"] == before["LifecycleHooks"]


def test_security_groups_of_two_vpcs_may_have_the_same_name(cloud: Running) -> None:
    ec2 = cloud.client("ec2")
    create(cloud, "security group", "app")
    other = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    assert ec2.create_security_group(GroupName="app", Description="any", VpcId=other)["GroupId"]


@pytest.mark.parametrize(
    ("image", "code", "message"),
    [
        (NO_IMAGE, "InvalidAMIID.NotFound", f"The image id '[{NO_IMAGE}]' does not exist"),
        ("ami-12", "InvalidAMIID.Malformed", 'Invalid id: "ami-12" (expecting "ami-...")'),
        ("ami-0123456789ABCDEF0", "InvalidAMIID.Malformed", "Invalid id"),
    ],
)
def test_a_launch_from_a_missing_image_is_refused(cloud: Running, image: str, code: str, message: str) -> None:
    ec2 = cloud.client("ec2")
    with refused(code, message):
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)
    with refused("ValidationError", f"You must use a valid fully-formed launch template. {message}"):
        create_group(cloud, "app", image)  # the launch template is created: AWS validates its image only here
    with refused(code, message):
        (found,) = ec2.describe_launch_templates()["LaunchTemplates"]
        template = {"LaunchTemplateId": found["LaunchTemplateId"]}
        ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1)
    assert cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_a_group_keeps_its_launch_template_when_the_new_ones_image_is_missing(cloud: Running) -> None:
    autoscaling, ec2 = cloud.client("autoscaling"), cloud.client("ec2")
    create_group(cloud, "app", IMAGE)
    (before,) = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    other = ec2.create_launch_template(LaunchTemplateName="other", LaunchTemplateData={"ImageId": NO_IMAGE})
    template = {"LaunchTemplateId": other["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"}
    with refused("ValidationError", f"The image id '[{NO_IMAGE}]' does not exist"):
        autoscaling.update_auto_scaling_group(AutoScalingGroupName="app", MaxSize=3, LaunchTemplate=template)
    (after,) = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (after["LaunchTemplate"], after["MaxSize"]) == (before["LaunchTemplate"], 1)


def test_a_group_with_a_deregistered_image_fails_to_launch(cloud: Running) -> None:
    autoscaling, ec2 = cloud.client("autoscaling"), cloud.client("ec2")
    image = ec2.register_image(Name="app", RootDeviceName="/dev/xvda")["ImageId"]
    create_group(cloud, "app", image)
    ec2.deregister_image(ImageId=image)
    autoscaling.set_desired_capacity(AutoScalingGroupName="app", DesiredCapacity=1)
    activity = autoscaling.describe_scaling_activities(AutoScalingGroupName="app")["Activities"][0]
    message = f"The image id '[{image}]' is no longer available. Launching EC2 instance failed."
    assert (activity["StatusCode"], activity["StatusMessage"]) == ("Failed", message)
    with refused("InvalidAMIID.Unavailable"):
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)
