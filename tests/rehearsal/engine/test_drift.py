"""What hands changed in the cloud is found, told, and mended; what nobody touched is no drift."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import ConfigValue, EngineEvent
from pulumi.automation.errors import CommandError

from rehearsal.engine import Stack
from scripts.drift import look

from .conftest import Traffic, Workshop, deliver

pytestmark = pytest.mark.usefixtures("warm")

GALLERY = Path(__file__).parent / "gallery"
Client = Callable[[str], Any]
GONE = ["gone"]
OPEN = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
NOBODY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": "*"}]}


def drift(stack: Stack) -> dict[str, list[str]]:
    """By resource, as "Type name": the paths that drifted, or GONE."""
    found: dict[str, list[str]] = {}

    def note(event: EngineEvent) -> None:
        step = event.res_outputs_event.metadata if event.res_outputs_event else None
        if step and step.op.value != "same":
            found[_label(step)] = GONE if step.op.value == "delete" else sorted(step.detailed_diff or [])

    stack.preview_refresh(on_event=note)
    return found


def plan(stack: Stack) -> dict[str, str]:
    """By resource, as "Type name": what an update would do after a refresh."""
    found: dict[str, str] = {}

    def note(event: EngineEvent) -> None:
        step = event.res_outputs_event.metadata if event.res_outputs_event else None
        if step and step.op.value not in ("same", "refresh"):
            found[_label(step)] = step.op.value

    stack.preview(refresh=True, on_event=note)
    return found


def _label(step: Any) -> str:
    return f"{step.type.rpartition(':')[2]} {step.urn.rpartition('::')[2]}"


class Hands:
    """Changes resources of a stack past its program. A resource is named by its type's last word and its name."""

    def __init__(self, stack: Stack, aws: Client) -> None:
        deployment = stack.export_stack().deployment
        assert deployment is not None
        self.aws = aws
        self._found = {_label_of(each): each for each in deployment["resources"]}

    def id(self, label: str) -> str:
        return str(self._found[label]["id"])

    def inputs(self, label: str) -> dict[str, Any]:
        return dict(self._found[label]["inputs"])


def _label_of(resource: dict[str, Any]) -> str:
    return f"{resource['type'].rpartition(':')[2]} {resource['urn'].rpartition('::')[2]}"


@pytest.fixture
def gallery(tmp_path: Path, aws: Client) -> Stack:
    zone = aws("route53").create_hosted_zone(Name="example.org", CallerReference="gallery")["HostedZone"]
    stack = Stack("test", project=GALLERY, state_dir=tmp_path)
    stack.set_config("zone", ConfigValue(zone["Id"].rpartition("/")[2]))
    return stack


@pytest.mark.parametrize("variant", ["first", "changed"])
def test_what_nobody_touched_is_no_drift(gallery: Stack, variant: str, traffic: Traffic) -> None:
    gallery.set_config("variant", ConfigValue(variant))
    gallery.up()
    assert drift(gallery) == {}
    traffic.actions.clear()
    gallery.up(refresh=True)
    assert traffic.writes() == []


def test_every_change_by_hand_is_named_and_mended(stack: Stack, aws: Client, traffic: Traffic) -> None:
    stack.up()
    deliver(stack, "blue", "v1")
    deliver(stack, "green", "v2")
    stack.up()
    hands = Hands(stack, aws)
    expected = spoil_network(hands) | spoil_storage(hands) | spoil_balancer(hands) | spoil_machines(hands)
    before = stack.export_stack().deployment

    assert drift(stack) == expected
    assert plan(stack) == {label: "create" if paths == GONE else "update" for label, paths in expected.items()}
    with pytest.raises(CommandError, match="no changes were expected for refresh but changes were proposed") as caught:
        stack.preview_refresh(expect_no_changes=True)
    assert "code: 7" in str(caught.value)
    with pytest.raises(CommandError, match="no changes were expected for preview but changes were proposed"):
        stack.preview(refresh=True, expect_no_changes=True)
    assert stack.export_stack().deployment == before, "previews change no state"

    stack.up(refresh=True)
    assert drift(stack) == {}
    stack.preview(refresh=True, expect_no_changes=True)
    assert (
        aws("ec2").describe_security_groups(GroupIds=[hands.id("DefaultSecurityGroup network-default")])[
            "SecurityGroups"
        ][0]["IpPermissions"]
        == []
    )


def spoil_network(hands: Hands) -> dict[str, list[str]]:
    ec2 = hands.aws("ec2")
    port = next(label for label in hands._found if label.startswith("SecurityGroupIngressRule web-in-"))
    ec2.revoke_security_group_ingress(
        GroupId=hands.inputs(port)["securityGroupId"], SecurityGroupRuleIds=[hands.id(port)]
    )
    out = "SecurityGroupEgressRule machines-out"
    narrow = {"IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "CidrIpv4": "10.0.0.0/8"}
    ec2.modify_security_group_rules(
        GroupId=hands.inputs(out)["securityGroupId"],
        SecurityGroupRules=[{"SecurityGroupRuleId": hands.id(out), "SecurityGroupRule": narrow}],
    )
    default = hands.id("DefaultSecurityGroup network-default")
    ec2.authorize_security_group_ingress(GroupId=default, IpPermissions=[OPEN])
    ec2.create_tags(Resources=[hands.id("Vpc network")], Tags=[{"Key": "Name", "Value": "mine"}])
    ec2.create_tags(Resources=[hands.id("Vpc network")], Tags=[{"Key": "By.Hand", "Value": "yes"}])
    subnet = hands.id("Subnet network-private-eu-central-1a")
    ec2.delete_tags(Resources=[subnet], Tags=[{"Key": "Stack"}])
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    ec2.modify_vpc_attribute(VpcId=hands.id("Vpc network"), EnableDnsHostnames={"Value": False})
    route = "Route network-private-eu-central-1b-out"
    ec2.replace_route(
        RouteTableId=hands.inputs(route)["routeTableId"],
        DestinationCidrBlock="0.0.0.0/0",
        GatewayId=hands.id("InternetGateway network-internet"),
    )
    ec2.modify_vpc_endpoint(
        VpcEndpointId=hands.id("VpcEndpoint network-s3"),
        RemoveRouteTableIds=[hands.id("RouteTable network-public")],
    )
    return {
        port: GONE,
        out: ["cidrIpv4"],
        "DefaultSecurityGroup network-default": ["ingress"],
        "Vpc network": ["enableDnsHostnames", "tags.Name", 'tags["By.Hand"]'],
        "Subnet network-private-eu-central-1a": ["mapPublicIpOnLaunch", "tags.Stack"],
        route: ["natGatewayId"],
        "VpcEndpoint network-s3": ["routeTableIds"],
    }


def spoil_storage(hands: Hands) -> dict[str, list[str]]:
    s3, bucket, logs = hands.aws("s3"), hands.id("Bucket artifacts"), hands.id("Bucket artifacts-logs")
    tags = [tag for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"] if tag["Key"] != "Stack"]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [*tags, {"Key": "Stack", "Value": "other"}]})
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration=dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls"), True),
    )
    s3.delete_public_access_block(Bucket=logs)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_bucket_policy(Bucket=bucket)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    s3.delete_bucket_encryption(Bucket=logs)
    rule = {"ID": "old-logs", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}
    s3.put_bucket_lifecycle_configuration(Bucket=logs, LifecycleConfiguration={"Rules": [rule]})
    owner = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3.put_bucket_ownership_controls(Bucket=logs, OwnershipControls=owner)
    hands.aws("logs").delete_log_group(logGroupName=hands.id("LogGroup logs-app"))
    hands.aws("logs").put_retention_policy(logGroupName=hands.id("LogGroup network-flow"), retentionInDays=365)
    hands.aws("sns").set_topic_attributes(
        TopicArn=hands.id("Topic alerts"), AttributeName="KmsMasterKeyId", AttributeValue="alias/mine"
    )
    events, silenced = hands.aws("events"), hands.id("EventRule machine-events-blue-lost")
    events.disable_rule(Name=silenced)
    events.remove_targets(Rule=silenced, Ids=["alerts"])
    token = hands.id("Parameter web-preview-token")
    hands.aws("ssm").remove_tags_from_resource(ResourceType="Parameter", ResourceId=token, TagKeys=["Stack"])
    return {
        "Bucket artifacts": ["tags.Stack"],
        "BucketPublicAccessBlock artifacts": ["blockPublicPolicy", "restrictPublicBuckets"],
        "BucketPublicAccessBlock artifacts-logs": GONE,
        "BucketVersioning artifacts": ["versioningConfiguration.status"],
        "BucketPolicy artifacts": GONE,
        "BucketLogging artifacts": GONE,
        "BucketServerSideEncryptionConfiguration artifacts-logs": GONE,
        "BucketLifecycleConfiguration artifacts-logs": ["rules"],
        "BucketOwnershipControls artifacts-logs": ["rule.objectOwnership"],
        "LogGroup logs-app": GONE,
        "LogGroup network-flow": ["retentionInDays"],
        "Topic alerts": ["kmsMasterKeyId"],
        "EventRule machine-events-blue-lost": ["state"],
        "EventTarget machine-events-blue-lost": GONE,
        "Parameter web-preview-token": ["tags.Stack"],
    }


def spoil_balancer(hands: Hands) -> dict[str, list[str]]:
    elb = hands.aws("elbv2")
    groups = [{"TargetGroupArn": hands.id(f"TargetGroup {color}"), "Weight": 50} for color in ("green", "blue")]
    elb.modify_rule(
        RuleArn=hands.id("ListenerRule live"), Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
    )
    header = {"HttpHeaderName": "X-Bluegreen-Preview", "Values": ["guessed"]}
    elb.modify_rule(
        RuleArn=hands.id("ListenerRule web-preview-green"),
        Conditions=[{"Field": "http-header", "HttpHeaderConfig": header}],
    )
    answer = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "No release serves here."}
    elb.modify_listener(
        ListenerArn=hands.id("Listener web-http"),
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": answer}],
    )
    elb.modify_load_balancer_attributes(
        LoadBalancerArn=hands.id("LoadBalancer web"),
        Attributes=[
            {"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "false"},
            {"Key": "access_logs.s3.enabled", "Value": "false"},
        ],
    )
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "300"}
    elb.modify_target_group_attributes(TargetGroupArn=hands.id("TargetGroup blue"), Attributes=[delay])
    elb.modify_target_group(TargetGroupArn=hands.id("TargetGroup green"), HealthCheckPath="/elsewhere")
    weights = [f"actions[0].forward.targetGroups[{index}].weight" for index in (0, 1)]
    return {
        "ListenerRule live": weights,
        "ListenerRule web-preview-green": ["conditions[0].httpHeader.values[0]"],
        "Listener web-http": ["defaultActions[0].fixedResponse.statusCode"],
        "LoadBalancer web": ["accessLogs.enabled", "dropInvalidHeaderFields"],
        "TargetGroup blue": ["deregistrationDelay"],
        "TargetGroup green": ["healthCheck.path"],
    }


def spoil_machines(hands: Hands) -> dict[str, list[str]]:
    scaling, ec2, iam = hands.aws("autoscaling"), hands.aws("ec2"), hands.aws("iam")
    group = hands.id("Group green-fleet")
    scaling.update_auto_scaling_group(AutoScalingGroupName=group, MaxSize=9)
    # Autoscaling's own business, so no drift.
    scaling.set_desired_capacity(AutoScalingGroupName=hands.id("Group blue-fleet"), DesiredCapacity=2)
    tag = {"ResourceId": group, "ResourceType": "auto-scaling-group", "Key": "Release"}
    scaling.delete_tags(Tags=[tag])
    metric = {"PredefinedMetricType": "ASGAverageCPUUtilization"}
    scaling.put_scaling_policy(
        AutoScalingGroupName=group,
        PolicyName=hands.id("Policy green-fleet-cpu"),
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={"PredefinedMetricSpecification": metric, "TargetValue": 10.0},
    )
    scaling.delete_policy(
        AutoScalingGroupName=hands.id("Group blue-fleet"), PolicyName=hands.id("Policy blue-fleet-cpu")
    )
    template = {"LaunchTemplateId": hands.id("LaunchTemplate green-fleet")}
    versions = ec2.describe_launch_template_versions(**template)["LaunchTemplateVersions"]
    data = versions[0]["LaunchTemplateData"] | {"InstanceType": "m5.24xlarge"}
    ec2.create_launch_template_version(**template, LaunchTemplateData=data)
    flow = "Role network-flow"
    iam.update_assume_role_policy(RoleName=hands.id(flow), PolicyDocument=json.dumps(NOBODY))
    iam.delete_role_policy(RoleName=hands.id(flow), PolicyName=hands.inputs("RolePolicy network-flow")["name"])
    return {
        "Group green-fleet": ["maxSize", "tags"],
        "Policy green-fleet-cpu": ["targetTrackingConfiguration.targetValue"],
        "Policy blue-fleet-cpu": GONE,
        "LaunchTemplate green-fleet": ["instanceType"],
        flow: ["assumeRolePolicy"],
        "RolePolicy network-flow": GONE,
    }


def test_what_stands_alone_in_the_cloud_is_missed_too(shop: Workshop, aws: Client) -> None:
    shop.up("""
    vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16")
    subnet = aws.ec2.Subnet("sub", vpc_id=vpc.id, cidr_block="10.0.1.0/24")
    gateway = aws.ec2.InternetGateway("out", vpc_id=vpc.id)
    table = aws.ec2.RouteTable("table", vpc_id=vpc.id)
    aws.ec2.Route("route", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id)
    aws.ec2.RouteTableAssociation("joined", route_table_id=table.id, subnet_id=subnet.id)
    aws.ec2.SecurityGroup("web", vpc_id=vpc.id, ingress=[
        {"protocol": "tcp", "from_port": port, "to_port": port, "cidr_blocks": ["10.0.0.0/8", "192.0.2.0/24"]}
        for port in (443, 80)
    ])
    """)
    hands = Hands(shop.stack, aws)
    assert drift(shop.stack) == {}
    ec2 = aws("ec2")
    ec2.delete_route(RouteTableId=hands.id("RouteTable table"), DestinationCidrBlock="0.0.0.0/0")
    ec2.disassociate_route_table(AssociationId=hands.id("RouteTableAssociation joined"))
    ec2.authorize_security_group_ingress(GroupId=hands.id("SecurityGroup web"), IpPermissions=[OPEN])
    found = drift(shop.stack)
    assert (found["Route route"], found["RouteTableAssociation joined"]) == (GONE, GONE)
    assert set(found) == {"Route route", "RouteTableAssociation joined", "SecurityGroup web"}
    shop.stack.up(refresh=True)
    assert drift(shop.stack) == {}


ALARM = """
for name in ("kept", "quiet", "lost", "tagged"):
    aws.cloudwatch.MetricAlarm(
        name, name=name, comparison_operator="GreaterThanThreshold", evaluation_periods=2, metric_name="Errors",
        namespace="shop", period=60, statistic="Sum", threshold=1, alarm_actions=["arn:aws:sns:us-east-1:1:a"],
        dimensions={"Stack": "test"}, tags={"Stack": "test"},
    )
"""


def test_an_alarm_that_was_silenced_or_deleted_is_drift(shop: Workshop, aws: Client) -> None:
    shop.up(ALARM)
    assert drift(shop.stack) == {}
    watch = aws("cloudwatch")
    quiet = watch.describe_alarms(AlarmNames=["quiet"])["MetricAlarms"][0]
    told = ("AlarmName", "ComparisonOperator", "EvaluationPeriods", "MetricName", "Namespace", "Period", "Statistic")
    watch.put_metric_alarm(**{key: quiet[key] for key in told}, Threshold=1000.0)
    watch.delete_alarms(AlarmNames=["lost"])
    arn = watch.describe_alarms(AlarmNames=["tagged"])["MetricAlarms"][0]["AlarmArn"]
    watch.untag_resource(ResourceARN=arn, TagKeys=["Stack"])
    watch.tag_resource(ResourceARN=arn, Tags=[{"Key": "Owner", "Value": "me"}])
    found = drift(shop.stack)
    assert found.pop("MetricAlarm quiet")[-1] == "threshold"
    assert found == {"MetricAlarm lost": GONE, "MetricAlarm tagged": ["tags.Owner", "tags.Stack"]}
    shop.stack.up(refresh=True)
    assert drift(shop.stack) == {}
    assert watch.describe_alarms(AlarmNames=["quiet"])["MetricAlarms"][0]["Threshold"] == 1.0


def test_scripts_see_what_was_wanted_and_what_is_there(shop: Workshop, aws: Client) -> None:
    shop.up("""
    hidden = pulumi.Output.secret("hush")
    aws.cloudwatch.LogGroup("logs", name="/logs", retention_in_days=7, tags={"Stack": "dev"})
    aws.ssm.Parameter("token", name="/token", type="SecureString", value=hidden)
    aws.sns.Topic("lost")
    """)
    aws("logs").put_retention_policy(logGroupName="/logs", retentionInDays=30)
    aws("logs").tag_log_group(logGroupName="/logs", tags={"Stack": "mine"})
    aws("ssm").put_parameter(Name="/token", Value="guess", Type="SecureString", Overwrite=True)
    aws("sns").delete_topic(TopicArn=Hands(shop.stack, aws).id("Topic lost"))
    drifted, changes = look(shop.stack)
    assert [(one.name, one.gone) for one in drifted] == [("logs", False), ("lost", True), ("token", False)]
    told = {each.path: (each.want, each.have) for one in drifted for each in one.properties}
    assert told == {"retentionInDays": (7, 30), "tags.Stack": ("dev", "mine"), "value": ("[secret]", "[secret]")}
    assert {change.name: change.op for change in changes.changes} == {
        "logs": "update",
        "lost": "create",
        "token": "update",
    }


def test_a_refresh_records_what_the_cloud_has(shop: Workshop, aws: Client) -> None:
    shop.up('aws.cloudwatch.LogGroup("logs", name="/logs", retention_in_days=7)')
    aws("logs").put_retention_policy(logGroupName="/logs", retentionInDays=30)
    with pytest.raises(CommandError, match="no changes were expected for refresh"):
        shop.stack.refresh(expect_no_changes=True)
    assert Hands(shop.stack, aws).inputs("LogGroup logs")["retentionInDays"] == 30
    shop.stack.refresh(expect_no_changes=True)
    assert shop.up() == {"update": 1}
    found = aws("logs").describe_log_groups()["logGroups"][0]
    assert found["retentionInDays"] == 7


PACK = """
from dataclasses import dataclass
@dataclass
class Resource:
    urn: str
    type: str
    name: str
    props: dict
    protect: bool
    parent: str
    dependencies: frozenset
@dataclass
class Violation:
    rule: str
    urn: str
    message: str
def judge(resources, *, protected):
    return [
        Violation("open-end", each.urn, f"{each.name} keeps its lines for ever; allowed are days")
        for each in resources
        if "retentionInDays" not in each.props and each.type.startswith("aws:")
    ]
"""


def test_a_policy_pack_is_asked_before_anything_is_made(shop: Workshop, traffic: Traffic) -> None:
    (shop.root / "pack").mkdir()
    (shop.root / "pack" / "rules.py").write_text(PACK)
    program = 'aws.cloudwatch.LogGroup("logs", name="/logs"{})'
    shop.program(program.format(""))
    events: list[EngineEvent] = []
    with pytest.raises(CommandError, match="policy pack: open-end: logs keeps its lines for ever; allowed are days"):
        shop.stack.preview(policy_packs=["pack"], on_event=events.append)
    told = [event.policy_event for event in events if event.policy_event]
    assert [(one.policy_name, one.policy_pack_name, one.enforcement_level) for one in told] == [
        ("open-end", "pack", "mandatory")
    ]
    with pytest.raises(CommandError, match="open-end"):
        shop.stack.up(policy_packs=["pack"])
    assert traffic.writes() == []
    shop.program(program.format(", retention_in_days=7"))
    shop.stack.up(policy_packs=["pack"])
    with pytest.raises(CommandError, match=r"there is no rules\.py, whose function judge the embedded engine asks"):
        shop.stack.preview(policy_packs=["elsewhere"])


def test_a_replacement_is_told_in_its_steps(shop: Workshop) -> None:
    group = 'aws.ec2.SecurityGroup("web", description="{}")'
    shop.up(group.format("one"))
    shop.program(group.format("two"))
    steps: list[tuple[str, str, str | None]] = []

    def note(event: EngineEvent) -> None:
        told = event.resource_pre_event or event.res_outputs_event
        if told and told.metadata.op.value != "same":
            diff = told.metadata.detailed_diff or {}
            kind = diff["description"].diff_kind.value if diff else None
            steps.append(("pre" if event.resource_pre_event else "outputs", told.metadata.op.value, kind))

    shop.stack.preview(on_event=note)
    assert steps == [
        (when, op, "update-replace") for when in ("pre", "outputs") for op in ("create-replacement", "replace")
    ]
    steps.clear()
    shop.stack.up(on_event=note)
    assert steps[-2:] == [("pre", "delete-replaced", None), ("outputs", "delete-replaced", None)]
