"""Pulumi's provider protocol, tested with simple resources."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf import empty_pb2
from moto.ec2.models import EC2Backend
from pulumi.runtime.proto import provider_pb2

from rehearsal.provider.values import UNKNOWN, Secret, to_struct

from .client import CallError, CheckError, Client, Resource
from .conftest import Traffic

Aws = Callable[[str], Any]
Naming = provider_pb2.CheckRequest.AutonamingOptions
SECOND_REGION = "eu-west-1"


@pytest.fixture
def topic(provider: Client) -> Resource:
    return provider.create("aws:sns:Topic", "alerts", kmsMasterKeyId="alias/one")


@pytest.fixture
def group(provider: Client) -> Resource:
    return provider.create("aws:ec2:SecurityGroup", "web", description="one")


# -- Check ----------------------------------------------------------------------------------------------------------


def test_defaults_are_listed_among_the_inputs(provider: Client) -> None:
    vpc = provider.declare("aws:ec2:Vpc", "net", cidrBlock="10.0.0.0/16")
    assert provider.check(vpc) == {
        "cidrBlock": "10.0.0.0/16",
        "enableDnsSupport": True,
        "tags": {},
        "__defaults": ["enableDnsSupport", "tags"],
    }


def test_an_auto_name_is_derived_from_pulumis_seed(provider: Client) -> None:
    topic = provider.declare("aws:sns:Topic", "alerts")
    names = [provider.check(topic, seed=seed)["name"] for seed in (b"one", b"one", b"two", b"", b"")]
    assert all(name.startswith("alerts-") and len(name) == len("alerts-1234567") for name in names)
    assert (names[0] == names[1], len(set(names))) == (True, 4)


def test_an_auto_name_obeys_its_types_rules(provider: Client) -> None:
    bucket = provider.declare("aws:s3:Bucket", "Files" * 20)
    name = provider.check(bucket)["bucket"]
    assert (name[:5], name.lower(), len(name)) == ("files", name, 63)


def test_a_prefix_replaces_the_resources_logical_name(provider: Client) -> None:
    group = provider.declare("aws:cloudwatch:LogGroup", "logs", namePrefix="/shop/vpn-")
    assert provider.check(group)["name"].startswith("/shop/vpn-")


def test_an_auto_name_stays_until_the_prefix_changes_or_a_name_is_declared(provider: Client) -> None:
    group = provider.create("aws:cloudwatch:LogGroup", "logs", namePrefix="a-")
    name = group["name"]
    assert provider.update(group, retentionInDays=7) == {"retentionInDays": "add"}
    assert group["name"] == name
    provider.update(group, namePrefix="b-")
    assert group["name"].startswith("b-")
    provider.update(group, namePrefix=None, name="chosen")
    assert group["name"] == "chosen"
    provider.update(group, name=None)
    assert group["name"].startswith("logs-")


@pytest.mark.parametrize(("mode", "name"), [(Naming.PROPOSE, "dev-files"), (Naming.ENFORCE, "dev-Files")])
def test_proposed_names_are_used(provider: Client, mode: Any, name: str) -> None:
    bucket = provider.declare("aws:s3:Bucket", "Files")
    options = Naming(proposed_name="dev-Files", mode=mode)
    assert provider.check(bucket, autonaming=options)["bucket"] == name


def test_a_proposed_name_that_is_too_long_is_refused(provider: Client) -> None:
    role = provider.declare("aws:iam:Role", "writer", assumeRolePolicy="{}")
    with pytest.raises(CheckError, match=r"^name: a{65}, as pulumi:autonaming proposes: allowed are 64 characters$"):
        provider.check(role, autonaming=Naming(proposed_name="a" * 65))


def test_with_autonaming_disabled_a_name_must_be_declared(provider: Client) -> None:
    off = Naming(mode=Naming.DISABLE)
    with pytest.raises(CheckError, match=r"^name: automatic naming is disabled by pulumi:autonaming: give a name$"):
        provider.check(provider.declare("aws:cloudwatch:LogGroup", "logs"), autonaming=off)
    for chosen in ({"name": "chosen"}, {"namePrefix": "chosen"}):
        group = provider.declare("aws:cloudwatch:LogGroup", "logs", **chosen)
        assert provider.check(group, autonaming=off)["name"].startswith("chosen")


def test_default_tags_are_merged_and_returned(own_provider: Client, settings: dict[str, Any], aws: Aws) -> None:
    own_provider.configure(**settings, defaultTags=json.dumps({"tags": {"Stack": "dev", "Name": "none"}}))
    topic = own_provider.create("aws:sns:Topic", "alerts", tags={"Name": "alerts"})
    assert topic["tags"] == topic["tagsAll"] == {"Stack": "dev", "Name": "alerts"}
    own_provider.configure(**settings, defaultTags=json.dumps({"tags": {"Stack": "prod"}}))
    assert own_provider.update(topic) == {"tags.Stack": "update"}
    tags = aws("sns").list_tags_for_resource(ResourceArn=topic.id)["Tags"]
    assert {each["Key"]: each["Value"] for each in tags} == {"Stack": "prod", "Name": "alerts"}


def test_an_unknown_type_is_refused_in_one_sentence(provider: Client, traffic: Traffic) -> None:
    with pytest.raises(CallError) as caught:
        provider.create("aws:sqs:Queue", "jobs")
    assert str(caught.value) == (
        "aws:sqs/queue:Queue: the rehearsal's provider has no such resource type; "
        "add a handler to rehearsal/provider/handlers"
    )
    assert traffic.actions == []


# -- Diff, and its updates and replacements -------------------------------------------------------------------------


def test_an_unchanged_resource_makes_no_call(provider: Client, topic: Resource, traffic: Traffic) -> None:
    traffic.forget()
    assert (provider.update(topic), traffic.actions) == ({}, [])


def test_a_changed_resource_makes_only_the_calls_for_the_change(
    provider: Client, topic: Resource, traffic: Traffic
) -> None:
    traffic.forget()
    assert provider.update(topic, tags={"Stack": "new"}) == {"tags.Stack": "add"}
    assert traffic.writes == ["TagResource"]


def test_a_replacement_is_created_before_the_deletion(provider: Client, group: Resource, traffic: Traffic) -> None:
    old = group["name"]
    traffic.forget()
    assert provider.update(group, description="two") == {"description": "update-replace"}
    assert traffic.writes == ["CreateSecurityGroup", "RevokeSecurityGroupEgress", "DeleteSecurityGroup"]
    assert group["name"] != old


def test_a_resource_with_a_declared_name_is_deleted_first(provider: Client, traffic: Traffic) -> None:
    role = provider.create("aws:iam:Role", "writer", name="writer", path="/a/", assumeRolePolicy="{}")
    traffic.forget()
    assert provider.update(role, path="/b/") == {"path": "update-replace"}
    assert traffic.writes == ["DeleteRole", "CreateRole"]
    assert role["arn"] == "arn:aws:iam::123456789012:role/b/writer"


# -- previews -------------------------------------------------------------------------------------------------------


def test_a_preview_makes_no_call(provider: Client, topic: Resource, traffic: Traffic) -> None:
    traffic.forget()
    assert provider.preview("aws:ec2:Vpc", "net", cidrBlock="10.0.0.0/16", tags={"Name": UNKNOWN})["tags"] == {
        "Name": UNKNOWN
    }
    assert provider.preview("aws:ec2:Vpc", "net", cidrBlock="10.0.0.0/16", tags=UNKNOWN)["tagsAll"] is UNKNOWN
    previewed = provider.preview_update(topic, kmsMasterKeyId=UNKNOWN)
    assert (previewed["kmsMasterKeyId"], previewed["arn"]) == (UNKNOWN, topic["arn"])
    assert (provider.diff(topic, kmsMasterKeyId=UNKNOWN), traffic.actions) == ({"kmsMasterKeyId": "update"}, [])


def test_unknown_inputs_are_not_checked(provider: Client) -> None:
    assert provider.check(provider.declare("aws:kms:Alias", "state", name=UNKNOWN, targetKeyId="k"))["name"] is UNKNOWN


def test_secrets_are_returned_as_secrets_and_sent_in_plain(provider: Client, aws: Aws) -> None:
    token = provider.create("aws:ssm:Parameter", "token", name="/token", type="String", value=Secret("hush"))
    assert token["value"] == Secret("hush")
    assert aws("ssm").get_parameter(Name="/token")["Parameter"]["Value"] == "hush"
    assert provider.update(token, value=Secret("hush")) == {}
    assert provider.update(token, value=Secret("loud")) == {"value": "update"}
    assert aws("ssm").get_parameter(Name="/token")["Parameter"]["Value"] == "loud"


# -- partial failures -----------------------------------------------------------------------------------------------


def test_a_resource_that_can_not_be_read_after_its_creation_is_recorded(provider: Client, traffic: Traffic) -> None:
    topic = provider.declare("aws:sns:Topic", "alerts")
    traffic.refuse("GetTopicAttributes", times=2)
    with pytest.raises(
        CallError, match=r"^An error occurred \(Refused\) when calling the GetTopicAttributes"
    ) as caught:
        provider.apply(topic)
    assert topic.id == caught.value.incomplete.id == f"arn:aws:sns:us-east-1:123456789012:{topic['name']}"
    assert provider.refresh(topic) == {}


def test_a_partly_failed_creation_is_completed_by_the_next_update(provider: Client, aws: Aws, traffic: Traffic) -> None:
    vpc = provider.declare("aws:ec2:Vpc", "net", cidrBlock="10.0.0.0/16", enableDnsHostnames=True)
    traffic.refuse("ModifyVpcAttribute", times=2)
    with pytest.raises(CallError, match=r"when calling the ModifyVpcAttribute operation: by order of the test$"):
        provider.apply(vpc)
    (found,) = [each["VpcId"] for each in aws("ec2").describe_vpcs()["Vpcs"] if not each["IsDefault"]]
    assert (vpc.id, vpc["enableDnsHostnames"]) == (found, False)
    traffic.forget()
    assert provider.update(vpc) == {"enableDnsHostnames": "update"}
    assert traffic.writes == ["ModifyVpcAttribute"]
    assert provider.refresh(vpc) == {}


def test_a_creation_that_aws_refuses_records_nothing(provider: Client, traffic: Traffic) -> None:
    traffic.refuse("CreateTopic")
    with pytest.raises(CallError, match=r"^An error occurred \(Refused\) when calling the CreateTopic") as caught:
        provider.create("aws:sns:Topic", "alerts")
    assert caught.value.incomplete is None


def test_a_partly_failed_update_is_completed_by_the_next(provider: Client, topic: Resource, traffic: Traffic) -> None:
    traffic.refuse("TagResource")
    with pytest.raises(CallError) as caught:
        provider.update(topic, kmsMasterKeyId="alias/two", tags={"Stack": "new"})
    assert topic.init_errors == [str(caught.value)]
    assert (topic["kmsMasterKeyId"], topic["tags"]) == ("alias/two", {})
    traffic.forget()
    assert provider.update(topic) == {"tags.Stack": "add"}
    assert (traffic.writes, topic["tagsAll"]) == (["TagResource"], {"Stack": "new"})
    assert "__actual" not in topic.outputs
    assert (provider.update(topic), provider.refresh(topic)) == ({}, {})


def test_an_update_that_took_effect_despite_an_error_is_not_repeated(
    provider: Client, aws: Aws, topic: Resource, traffic: Traffic
) -> None:
    aws("sns").set_topic_attributes(TopicArn=topic.id, AttributeName="KmsMasterKeyId", AttributeValue="alias/two")
    traffic.refuse("SetTopicAttributes")
    with pytest.raises(CallError):
        provider.update(topic, kmsMasterKeyId="alias/two")
    traffic.forget()
    assert (provider.update(topic), traffic.writes, topic.init_errors) == ({}, [], [])
    assert topic.inputs["kmsMasterKeyId"] == "alias/two"


def test_the_actual_inputs_after_a_failure_are_a_secret(provider: Client, traffic: Traffic) -> None:
    token = provider.create("aws:ssm:Parameter", "token", name="/token", type="String", value="one")
    traffic.refuse("AddTagsToResource")
    with pytest.raises(CallError):
        provider.update(token, value="two", tags={"Stack": "new"})
    noted = token["__actual"]
    assert isinstance(noted, Secret)
    assert (noted.value["value"], noted.value["tags"]) == ("two", {})


def test_a_refresh_removes_the_actual_inputs_of_a_failure(provider: Client, topic: Resource, traffic: Traffic) -> None:
    traffic.refuse("TagResource")
    with pytest.raises(CallError):
        provider.update(topic, kmsMasterKeyId="alias/two", tags={"Stack": "new"})
    assert provider.refresh(topic) == {"tags.Stack": "add"}
    assert "__actual" not in topic.outputs


def test_an_update_that_changed_nothing_records_nothing(provider: Client, topic: Resource, traffic: Traffic) -> None:
    traffic.refuse("SetTopicAttributes")
    with pytest.raises(CallError) as caught:
        provider.update(topic, kmsMasterKeyId="alias/two")
    assert caught.value.incomplete is None


def test_a_failed_update_of_an_unreadable_resource_records_nothing(
    provider: Client, topic: Resource, traffic: Traffic
) -> None:
    traffic.refuse("TagResource")
    traffic.refuse("GetTopicAttributes")
    with pytest.raises(CallError, match=r"when calling the TagResource operation") as caught:
        provider.update(topic, kmsMasterKeyId="alias/two", tags={"Stack": "new"})
    assert caught.value.incomplete is None


# -- waiting --------------------------------------------------------------------------------------------------------


def test_a_resource_in_use_is_deleted_once_it_is_not(provider: Client, group: Resource, traffic: Traffic) -> None:
    traffic.forget()
    traffic.refuse("DeleteSecurityGroup", "DependencyViolation", times=2)
    provider.delete(group)
    assert traffic.writes == ["DeleteSecurityGroup"] * 3


def test_a_resource_that_stays_in_use_fails_at_its_custom_timeout(
    provider: Client, group: Resource, traffic: Traffic
) -> None:
    traffic.refuse("DeleteSecurityGroup", "DependencyViolation", times=99)
    with pytest.raises(CallError, match=r"^An error occurred \(DependencyViolation\) when calling the DeleteSecurity"):
        provider.delete(group, timeout_s=0.1)


def test_a_missing_resource_counts_as_deleted(provider: Client, aws: Aws, group: Resource) -> None:
    aws("ec2").delete_security_group(GroupId=group.id)
    provider.delete(group)


def test_a_wait_ends_when_pulumi_cancels(own_provider: Client, traffic: Traffic) -> None:
    group = own_provider.create("aws:ec2:SecurityGroup", "web")
    traffic.refuse("DeleteSecurityGroup", "DependencyViolation", times=99)
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(own_provider.delete, group)
        traffic.wait_for("DeleteSecurityGroup")
        own_provider.call("Cancel", empty_pb2.Empty())
        with pytest.raises(CallError, match=f"^cancelled while {group.id} was still in use$"):
            call.result(10)


def test_a_resource_that_is_not_ready_at_its_custom_timeout_is_recorded(
    provider: Client, subnet: Resource, gateway: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, created = EC2Backend.create_nat_gateway, []

    def create_slowly(*args: Any, **kwargs: Any) -> Any:
        created.append(create(*args, **kwargs))
        created[0].state = "pending"
        return created[0]

    monkeypatch.setattr(EC2Backend, "create_nat_gateway", create_slowly)
    address = provider.create("aws:ec2:Eip", "address", domain="vpc")
    nat = provider.declare("aws:ec2:NatGateway", "nat", subnetId=subnet.id, allocationId=address.id)
    with pytest.raises(CallError) as caught:
        provider.apply(nat, timeout_s=0.3)
    assert (nat.id, str(caught.value)) == (created[0].id, f"waited 0.3 s for NAT gateway {nat.id}: it is pending")
    created[0].state = "available"
    assert (provider.refresh(nat), provider.update(nat)) == ({}, {})


# -- Read -----------------------------------------------------------------------------------------------------------


def test_an_import_by_id_keeps_the_name(provider: Client, vpc: Resource) -> None:
    group = provider.create("aws:ec2:SecurityGroup", "web", vpcId=vpc.id, description="one")
    imported = provider.import_("aws:ec2:SecurityGroup", "web", group.id)
    assert imported is not None
    assert imported.inputs == group.inputs | {"__defaults": ["name", "tags"]}
    assert imported["arn"] == group["arn"]
    imported.declared = group.declared
    assert provider.update(imported) == {}
    assert provider.import_("aws:ec2:SecurityGroup", "web", "sg-0123456789abcdef0") is None


def test_an_import_that_needs_more_than_the_id_says_so(provider: Client) -> None:
    with pytest.raises(CallError) as caught:
        provider.import_("aws:cloudwatch:EventTarget", "lost", "shop-lost-news")
    assert str(caught.value) == (
        "aws:cloudwatch/eventTarget:EventTarget can't be imported by its id alone: 'rule' is needed"
    )


# -- the provider itself --------------------------------------------------------------------------------------------


def test_a_reconfigured_provider_uses_the_new_settings(own_provider: Client, settings: dict[str, Any]) -> None:
    own_provider.call("Cancel", empty_pb2.Empty())
    own_provider.configure(**settings | {"region": SECOND_REGION})
    topic = own_provider.create("aws:sns:Topic", "alerts")
    assert topic.id == f"arn:aws:sns:{SECOND_REGION}:123456789012:{topic['name']}"


def test_another_region_replaces_the_provider(provider: Client) -> None:
    request = provider_pb2.DiffRequest(
        olds=to_struct({"region": "us-east-1", "profile": "a"}),
        news=to_struct({"region": SECOND_REGION, "profile": "b"}),
    )
    answer = provider.call("DiffConfig", request)
    assert (list(answer.diffs), list(answer.replaces)) == (["profile", "region"], ["region"])


def test_a_region_must_be_configured(own_provider: Client, settings: dict[str, Any]) -> None:
    own_provider.configure(**settings | {"region": None})
    with pytest.raises(CallError) as caught:
        own_provider.create("aws:sns:Topic", "alerts")
    assert str(caught.value) == "No AWS region: set aws:region in the stack's config, or AWS_REGION."


def test_many_calls_at_once_share_the_clients(own_provider: Client, aws: Aws) -> None:
    """The first calls of a deployment create them concurrently."""
    start = threading.Barrier(8)

    def create(number: int) -> str:
        start.wait()
        return str(own_provider.create("aws:cloudwatch:LogGroup", f"group-{number}", name=f"/{number}").id)

    with ThreadPoolExecutor(8) as callers:
        assert sorted(callers.map(create, range(8))) == [f"/{number}" for number in range(8)]
    assert len(aws("logs").describe_log_groups()["logGroups"]) == 8


# -- functions ------------------------------------------------------------------------------------------------------


def test_functions_return_account_partition_and_zones(provider: Client) -> None:
    assert provider.invoke("aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == "123456789012"
    assert provider.invoke("aws:index/getPartition:getPartition")["partition"] == "aws"
    filters = [{"name": "opt-in-status", "values": ["opt-in-not-required"]}]
    zones = provider.invoke("aws:index/getAvailabilityZones:getAvailabilityZones", state="available", filters=filters)
    assert zones["names"] == [f"us-east-1{letter}" for letter in "abcdef"]


def test_an_authorization_token_is_returned(provider: Client) -> None:
    token = provider.invoke("aws:ecr/getAuthorizationToken:getAuthorizationToken")
    assert token["proxyEndpoint"] == "https://123456789012.dkr.ecr.us-east-1.amazonaws.com"
    assert base64.b64decode(token["authorizationToken"]).startswith(b"AWS:")


def test_a_function_with_unknown_arguments_makes_no_call(provider: Client, traffic: Traffic) -> None:
    assert provider.invoke("aws:ecr/getAuthorizationToken:getAuthorizationToken", registryId=UNKNOWN) == {}
    assert traffic.actions == []


def test_an_unknown_function_is_refused_in_one_sentence(provider: Client) -> None:
    with pytest.raises(CallError) as caught:
        provider.invoke("aws:sqs/getQueue:getQueue", name="jobs")
    assert str(caught.value) == (
        "aws:sqs/getQueue:getQueue: the rehearsal's provider has no such function; "
        "add it to rehearsal/provider/invokes.py"
    )
