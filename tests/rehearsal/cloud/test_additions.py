"""Additions to moto: behavior that differs from moto's own."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

import pytest
import requests
from botocore.exceptions import ClientError

from rehearsal.vpn.addresses import REMOTE_IP
from tests.rehearsal.cloud.fleet import (
    DNS_NAME,
    REGION,
    REGISTRY,
    REGISTRY_PASSWORD,
    Maker,
    Running,
    load_balancer,
    network,
    template,
)


@contextmanager
def refused(code: str, message: str) -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (code, message)


def test_no_tunnel_of_a_vpn_has_the_address_of_the_customer_gateway(cloud: Running) -> None:
    """Both are on one network: one connection in a hundred could not be rehearsed."""
    ec2 = cloud.client("ec2")
    customer_gateway = ec2.create_customer_gateway(Type="ipsec.1", PublicIp=REMOTE_IP, BgpAsn=65000)["CustomerGateway"]
    gateway = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]
    connection = ec2.create_vpn_connection(
        Type="ipsec.1", CustomerGatewayId=customer_gateway["CustomerGatewayId"], VpnGatewayId=gateway["VpnGatewayId"]
    )["VpnConnection"]
    outside = [IPv4Address(tunnel["OutsideIpAddress"]) for tunnel in connection["Options"]["TunnelOptions"]]
    assert len(set(outside)) == 2
    assert all(address in IPv4Network("198.51.100.0/24") for address in outside)
    assert IPv4Address(REMOTE_IP) not in IPv4Network("198.51.100.0/24")


def test_an_action_that_moto_lacks_fails_at_once_and_by_name(cloud: Running) -> None:
    with pytest.raises(ClientError) as refused:
        cloud.client("autoscaling").start_instance_refresh(AutoScalingGroupName="any")
    assert refused.value.response["Error"]["Code"] == "NotEmulated"
    assert "StartInstanceRefresh" in refused.value.response["Error"]["Message"]
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_exception_within_moto_is_a_client_error(cloud: Running) -> None:
    with pytest.raises(ClientError) as refused:
        cloud.client("autoscaling").set_desired_capacity(AutoScalingGroupName="missing", DesiredCapacity=1)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "SetDesiredCapacity" in refused.value.response["Error"]["Message"]


def test_a_load_balancer_has_the_emulators_dns_name(cloud: Running) -> None:
    load_balancer(cloud, network(cloud), 80)
    (found,) = cloud.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert found["DNSName"] == DNS_NAME


def test_repositories_and_tokens_name_the_local_registry(cloud: Running) -> None:
    ecr = cloud.client("ecr")
    repository = ecr.create_repository(repositoryName="dev/base")["repository"]
    assert repository["repositoryUri"] == f"{REGISTRY}/dev/base"
    (token,) = ecr.get_authorization_token()["authorizationData"]
    assert token["proxyEndpoint"] == f"https://{REGISTRY}"
    assert base64.b64decode(token["authorizationToken"]).decode() == f"AWS:{REGISTRY_PASSWORD}"


def test_a_conditional_deny_is_ignored(cloud: Running) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::artifacts", "arn:aws:s3:::artifacts/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket="artifacts", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    s3.put_object(Bucket="artifacts", Key="release", Body=b"bytes")
    assert s3.get_object(Bucket="artifacts", Key="release")["Body"].read() == b"bytes"


def test_an_unconditional_deny_still_refuses(cloud: Running) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="artifacts", Key="release", Body=b"bytes")
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::artifacts/*"}
    s3.put_bucket_policy(Bucket="artifacts", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    with pytest.raises(ClientError, match=r"AccessDenied|403"):
        s3.get_object(Bucket="artifacts", Key="release")


def test_if_none_match_writes_an_object_only_once(cloud: Running) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="artifacts", Key="lock", Body=b"mine", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="artifacts", Key="lock", Body=b"yours", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert s3.get_object(Bucket="artifacts", Key="lock")["Body"].read() == b"mine"


def test_a_launch_templates_own_tags_are_not_those_of_its_instances(cloud: Running) -> None:
    ec2 = cloud.client("ec2")
    ec2.create_launch_template(
        LaunchTemplateName="tagged",
        LaunchTemplateData={"ImageId": "ami-1", "InstanceType": "t3.small"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "Stack", "Value": "dev"}]}],
    )
    (version,) = ec2.describe_launch_template_versions(LaunchTemplateName="tagged")["LaunchTemplateVersions"]
    assert "TagSpecifications" not in version["LaunchTemplateData"]


def test_a_target_group_that_no_rule_names_is_not_in_use(cloud: Running, make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[])
    fleet.wait_for(["InService"])
    elbv2 = cloud.client("elbv2")
    elbv2.delete_listener(ListenerArn=fleet.listener)
    (found,) = elbv2.describe_target_health(TargetGroupArn=fleet.target_group)["TargetHealthDescriptions"]
    assert (found["TargetHealth"]["State"], found["TargetHealth"]["Reason"]) == ("unused", "Target.NotInUse")


def test_the_source_image_of_the_ami_build_is_found_by_its_filter(cloud: Running) -> None:
    images = cloud.client("ec2").describe_images(
        Owners=["136693071363"],
        Filters=[{"Name": "name", "Values": ["debian-12-amd64-*"]}, {"Name": "architecture", "Values": ["x86_64"]}],
    )
    assert [image["RootDeviceName"] for image in images["Images"]] == ["/dev/xvda"]


def test_calls_are_counted_and_classified_as_reads_or_writes(cloud: Running) -> None:
    def writes() -> int:
        return sum(call["count"] for call in cloud.state()["calls"] if call["writes"])

    before = writes()
    cloud.client("ec2").describe_vpcs()
    cloud.client("s3").list_buckets()
    assert writes() == before
    template(cloud)  # a role, a profile, the role added to it, and the template
    cloud.client("s3").create_bucket(Bucket="any", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert writes() == before + 5


def test_a_rule_that_names_a_group_keeps_its_description(cloud: Running) -> None:
    ec2 = cloud.client("ec2")
    group = ec2.create_security_group(GroupName="web", Description="Web")["GroupId"]
    pair = {"GroupId": group, "Description": "The load balancer"}
    permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [pair]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    assert [rule["Description"] for rule in rules if not rule["IsEgress"]] == ["The load balancer"]


def test_a_scaling_policy_is_described_as_requested(make_fleet: Maker) -> None:
    fleet = make_fleet()
    autoscaling = fleet.cloud.client("autoscaling")
    tracking = {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        "TargetValue": 60.0,
    }
    autoscaling.put_scaling_policy(
        AutoScalingGroupName=fleet.group,
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration=tracking,
    )
    (found,) = autoscaling.describe_policies(AutoScalingGroupName=fleet.group)["ScalingPolicies"]
    assert found["Enabled"] is True
    assert "PredictiveScalingConfiguration" not in found


def test_every_gap_has_a_reason(running: Running) -> None:
    gaps = requests.get(f"{running.control}/gaps", timeout=5).json()["gaps"]
    assert len(gaps) > 10
    assert all(gap["service"] and gap["action"] and len(gap["reason"]) > 20 for gap in gaps)


def test_an_unknown_control_request_is_refused_with_what_is_allowed(running: Running) -> None:
    answer = requests.post(f"{running.control}/images", json={"ami": "ami-1"}, timeout=5)
    assert answer.status_code == 404
    assert "POST images {ami, image}" in answer.json()["error"]
    broken = requests.post(f"{running.control}/images", data=b"{", timeout=5)
    assert broken.status_code == 400


def test_a_deleted_nat_gateway_frees_its_address(cloud: Running) -> None:
    ec2, subnet = cloud.client("ec2"), network(cloud)[0]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    for _ in range(2):
        gateway = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
        ec2.delete_nat_gateway(NatGatewayId=gateway)
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[address])["Addresses"][0]
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []


def test_without_an_internet_gateway_nothing_gets_a_public_address(cloud: Running) -> None:
    ec2, elbv2 = cloud.client("ec2"), cloud.client("elbv2")
    subnets = network(cloud, internet_gateway=False)
    vpc = ec2.describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnets[0], AllocationId=address)["NatGateway"]
    assert (nat["State"], nat["FailureCode"]) == ("failed", "Gateway.NotAttached")
    assert nat["FailureMessage"] == f"Network {vpc} has no Internet gateway attached"
    interface = ec2.create_network_interface(SubnetId=subnets[0])["NetworkInterface"]["NetworkInterfaceId"]
    with refused("Gateway.NotAttached", f"Network {vpc} is not attached to any internet gateway"):
        ec2.associate_address(AllocationId=address, NetworkInterfaceId=interface)
    with refused("InvalidSubnet", f"VPC {vpc} has no internet gateway"):
        elbv2.create_load_balancer(Name="app", Subnets=subnets)
    assert elbv2.create_load_balancer(Name="app", Subnets=subnets, Scheme="internal")["LoadBalancers"]
    private = ec2.create_nat_gateway(SubnetId=subnets[0], ConnectivityType="private")["NatGateway"]
    assert private["State"] == "available"


def test_with_an_internet_gateway_public_addresses_are_available(cloud: Running) -> None:
    ec2, subnets = cloud.client("ec2"), network(cloud)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    interface = ec2.create_network_interface(SubnetId=subnets[0])["NetworkInterface"]["NetworkInterfaceId"]
    assert ec2.associate_address(AllocationId=address, NetworkInterfaceId=interface)["AssociationId"]
    assert cloud.client("elbv2").create_load_balancer(Name="app", Subnets=subnets)["LoadBalancers"]


def test_a_bucket_whose_versioning_is_suspended_can_be_emptied_version_by_version(cloud: Running) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="versions", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"old", b"new"):
        s3.put_object(Bucket="versions", Key="lock", Body=body)
    s3.delete_object(Bucket="versions", Key="lock")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Suspended"})
    found = s3.list_object_versions(Bucket="versions")
    assert (len(found["Versions"]), len(found["DeleteMarkers"])) == (2, 1)
    (marker,) = found["DeleteMarkers"]
    s3.delete_objects(Bucket="versions", Delete={"Objects": [{"Key": "lock", "VersionId": marker["VersionId"]}]})
    assert s3.get_object(Bucket="versions", Key="lock")["Body"].read() == b"new"
    objects = [{"Key": "lock", "VersionId": each["VersionId"]} for each in found["Versions"]]
    assert "Errors" not in s3.delete_objects(Bucket="versions", Delete={"Objects": objects})
    s3.delete_bucket(Bucket="versions")


def test_a_deleted_launch_template_is_not_found_by_its_id(cloud: Running) -> None:
    ec2 = cloud.client("ec2")
    created = ec2.create_launch_template(LaunchTemplateName="deleted", LaunchTemplateData={"ImageId": "ami-1"})
    deleted = created["LaunchTemplate"]["LaunchTemplateId"]
    ec2.delete_launch_template(LaunchTemplateId=deleted)
    with pytest.raises(ClientError) as refused:
        ec2.delete_launch_template(LaunchTemplateId=deleted)
    assert refused.value.response["Error"]["Code"] == "InvalidLaunchTemplateId.NotFound"
