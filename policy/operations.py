"""Rules on operations: required tags, log retention, deletion protection, and availability zones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy.exposure import BUCKET, LOAD_BALANCER
from policy.stack import UNKNOWN, Findings, Resource, StackResources, at, is_on, known, shown

TAGS = ("Stack", "Project", "ManagedBy")
GROUP = "aws:autoscaling/group:Group"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
SUBNET = "aws:ec2/subnet:Subnet"
# Resources that a launch template tags and that every instance has.
TAGGED_AT_LAUNCH = ("instance", "volume")
MIN_ZONES = 2
# Types that AWS can tag but may be registered without a tag property; others are recognized by having one.
TAGGABLE = frozenset(
    {
        *("aws:acm/certificate:Certificate", "aws:cloudwatch/logGroup:LogGroup"),
        *("aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm"),
        *("aws:cloudwatch/eventRule:EventRule",),
        *("aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/routeTable:RouteTable", "aws:ec2/eip:Eip"),
        *("aws:ec2/internetGateway:InternetGateway", "aws:ec2/natGateway:NatGateway", "aws:ec2/flowLog:FlowLog"),
        *("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"),
        *("aws:ec2/vpcEndpoint:VpcEndpoint", "aws:ec2/instance:Instance", "aws:ec2/vpnGateway:VpnGateway"),
        *("aws:ec2/customerGateway:CustomerGateway", "aws:ec2/vpnConnection:VpnConnection"),
        *("aws:ecr/repository:Repository", "aws:ebs/volume:Volume", "aws:efs/fileSystem:FileSystem"),
        *("aws:iam/role:Role", "aws:iam/policy:Policy", "aws:iam/instanceProfile:InstanceProfile"),
        *("aws:kinesis/firehoseDeliveryStream:FirehoseDeliveryStream",),
        *("aws:kms/key:Key", "aws:rds/instance:Instance", "aws:rds/cluster:Cluster"),
        *("aws:lb/loadBalancer:LoadBalancer", "aws:lb/targetGroup:TargetGroup"),
        *("aws:lb/listener:Listener", "aws:lb/listenerRule:ListenerRule"),
        *("aws:s3/bucket:Bucket", "aws:sns/topic:Topic", "aws:sqs/queue:Queue", "aws:ssm/parameter:Parameter"),
        *("aws:secretsmanager/secret:Secret", TEMPLATE),
    }
)


def required_tags(stack: StackResources) -> Findings:
    for each in stack.resources:
        if each.type == GROUP:
            yield from _group_tags(each)
        elif each.type in TAGGABLE or _shows_tags(each):
            yield from _missing(each, _own_tags(each), "")
        if each.type == TEMPLATE:
            yield from _launch_tags(each)


def _shows_tags(resource: Resource) -> bool:
    # A rule of a security group goes with its group, which is tagged.
    group_rule = resource.type.startswith("aws:vpc/securityGroup")
    return resource.type.startswith("aws:") and "tagsAll" in resource.props and not group_rule


def _own_tags(resource: Resource) -> Mapping[str, Any] | None:
    """The resource's and the provider's tags; None while a preview does not know them."""
    sources = [at(resource.props, key) for key in ("tags", "tagsAll")]
    if not all(known(tags) for tags in sources):
        return None
    return {key: value for tags in sources if isinstance(tags, Mapping) for key, value in tags.items()}


def _missing(resource: Resource, tags: Mapping[str, Any] | None, where: str) -> Findings:
    if tags is None:
        return
    absent = [tag for tag in TAGS if not tags.get(tag)]
    if absent:
        yield resource, f"tags{where} lack {', '.join(absent)}; allowed is a resource with {', '.join(TAGS)}"


def _group_tags(group: Resource) -> Findings:
    """Default tags don't reach Auto Scaling groups, and tags that they don't propagate don't reach instances."""
    entries = _by_key(at(group.props, "tags"), "key")
    if entries is None:
        return
    yield from _missing(group, {key: at(tag, "value") for key, tag in entries.items()}, " of the group")
    for key, tag in entries.items():
        propagated = at(tag, "propagateAtLaunch")
        if key in TAGS and known(propagated) and not is_on(propagated):
            yield group, f"propagateAtLaunch of tag {key} is {shown(propagated)}; allowed is true"


def _launch_tags(template: Resource) -> Findings:
    specifications = _by_key(at(template.props, "tagSpecifications"), "resourceType")
    if specifications is None:
        return
    for kind in TAGGED_AT_LAUNCH:
        tags = at(specifications.get(kind), "tags")
        yield from _missing(template, (tags or {}) if known(tags) else None, f" of each {kind}")


def _by_key(value: Any, key: str) -> dict[Any, Any] | None:
    """A list's entries by their value of a key; None while a preview does not know them all."""
    if not known(value):
        return None
    entries = {at(each, key): each for each in value or []}
    return None if UNKNOWN in entries else entries


def log_retention(stack: StackResources) -> Findings:
    for group in stack.all("aws:cloudwatch/logGroup:LogGroup"):
        days = at(group.props, "retentionInDays")
        if known(days) and not days:
            yield group, f"retentionInDays is {shown(days)}; allowed is a number of days, else log events never expire"


def deletion_protection(stack: StackResources) -> Findings:
    if not stack.protected:
        return
    for each in stack.all("aws:ec2/vpc:Vpc", BUCKET, LOAD_BALANCER):
        if not each.protect:
            yield each, "protect is false; allowed is true in a protected stack"
    for load_balancer in stack.all(LOAD_BALANCER):
        value = at(load_balancer.props, "enableDeletionProtection")
        if known(value) and not is_on(value):
            yield load_balancer, f"enableDeletionProtection is {shown(value)}; allowed is true in a protected stack"
    for bucket in stack.all(BUCKET):
        if is_on(at(bucket.props, "forceDestroy")):
            yield bucket, "forceDestroy is true; allowed is false in a protected stack"


def zones(stack: StackResources) -> Findings:
    if not stack.protected:
        return
    for key, each in [
        *(("subnets", load_balancer) for load_balancer in stack.all(LOAD_BALANCER)),
        *(("vpcZoneIdentifiers", group) for group in stack.all(GROUP)),
    ]:
        found = _zones_of(stack, each, key)
        if found is not None and len(found) < MIN_ZONES:
            names = ", ".join(sorted(found)) or "none"
            yield each, f"{key} are in zone {names}; allowed are {MIN_ZONES} zones or more in a protected stack"


def _zones_of(stack: StackResources, resource: Resource, key: str) -> set[str] | None:
    """Names of the zones; None while a preview does not know them, or when a subnet is not of this stack."""
    value = at(resource.props, key)
    subnets = [subnet for subnet in stack.all(SUBNET) if stack.refers(resource, key, subnet)]
    found = [at(subnet.props, "availabilityZone") for subnet in subnets]
    if not subnets or not all(known(zone) for zone in found) or (known(value) and len(value or []) > len(subnets)):
        return None
    return set(map(str, found))
