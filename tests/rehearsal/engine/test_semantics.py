"""What an `up` does to resources: the rules that users of Pulumi rely on."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import ConfigValue
from pulumi.automation.errors import CommandError
from pulumi.runtime.proto import resource_pb2

from rehearsal.engine.deployment import Deployment
from rehearsal.engine.display import Display
from rehearsal.engine.hooks import Hooks
from rehearsal.engine.monitor import EngineMonitor
from rehearsal.engine.state import State

from .conftest import Traffic, Workshop, counts

pytestmark = pytest.mark.usefixtures("warm")
Client = Callable[[str], Any]

NETWORK = """
vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", tags={"Name": "net"})
subnet = aws.ec2.Subnet("sub", vpc_id=vpc.id, cidr_block="10.0.1.0/24")
pulumi.export("vpc", vpc.id)
"""


def vpcs(aws: Client) -> list[str]:
    return [each["CidrBlock"] for each in aws("ec2").describe_vpcs()["Vpcs"] if not each["IsDefault"]]


def test_an_unchanged_program_calls_nothing(shop: Workshop, traffic: Traffic) -> None:
    assert shop.up(NETWORK) == {"create": 3}
    traffic.actions.clear()
    assert shop.up() == {}
    assert traffic.actions == []


def test_destroy_leaves_nothing(shop: Workshop, aws: Client) -> None:
    shop.up(NETWORK)
    shop.stack.destroy()
    assert vpcs(aws) == []
    assert shop.stack.outputs() == {}
    deployment = shop.stack.export_stack().deployment
    assert deployment is not None
    assert deployment["resources"] == []


def test_an_update_touches_one_resource(shop: Workshop, traffic: Traffic) -> None:
    shop.up(NETWORK)
    traffic.actions.clear()
    assert shop.up(NETWORK.replace('{"Name": "net"}', '{"Name": "other"}')) == {"update": 1}
    assert traffic.writes() == ["CreateTags"]


def test_replacement_comes_before_deletion(shop: Workshop, traffic: Traffic) -> None:
    group = 'aws.ec2.SecurityGroup("web", description="{}")'
    shop.up(group.format("one"))
    traffic.actions.clear()
    assert shop.up(group.format("two")) == {"replace": 1}
    writes = traffic.writes()
    assert writes.index("CreateSecurityGroup") < writes.index("DeleteSecurityGroup")


def test_a_fixed_name_is_freed_first(shop: Workshop, traffic: Traffic) -> None:
    group = 'aws.ec2.SecurityGroup("web", name="web", description="{}")'
    shop.up(group.format("one"))
    traffic.actions.clear()
    assert shop.up(group.format("two")) == {"replace": 1}
    writes = traffic.writes()
    assert writes.index("DeleteSecurityGroup") < writes.index("CreateSecurityGroup")


def test_what_can_not_outlive_its_parent_is_replaced_with_it(shop: Workshop, aws: Client) -> None:
    program = """
    vpc = aws.ec2.Vpc("net", cidr_block="{}", opts=pulumi.ResourceOptions(delete_before_replace=True))
    subnet = aws.ec2.Subnet("sub", vpc_id=vpc.id, cidr_block="{}")
    """
    shop.up(program.format("10.0.0.0/16", "10.0.1.0/24"))
    assert shop.up(program.format("10.1.0.0/16", "10.1.1.0/24")) == {"replace": 1, "create": 1}
    assert vpcs(aws) == ["10.1.0.0/16"]


def test_replace_on_changes_and_ignore_changes(shop: Workshop) -> None:
    program = """
    aws.ec2.LaunchTemplate("one", image_id="ami-{}", opts=pulumi.ResourceOptions(replace_on_changes=["imageId"]))
    aws.ec2.LaunchTemplate("two", image_id="ami-{}", opts=pulumi.ResourceOptions(ignore_changes=["imageId"]))
    aws.ec2.LaunchTemplate("three", image_id="ami-{}", metadata_options={{"http_tokens": "required"}})
    """
    shop.up(program.format(*["12345678"] * 3))
    assert shop.up(program.format(*["87654321"] * 3)) == {"replace": 1, "update": 1}


def test_protected_resources_stay(shop: Workshop, aws: Client) -> None:
    protected = 'aws.ec2.Vpc("net", cidr_block="{}", opts=pulumi.ResourceOptions(protect={}))'
    shop.up(protected.format("10.0.0.0/16", "True"))
    with pytest.raises(CommandError, match="cannot be deleted because it is protected"):
        shop.stack.destroy()
    with pytest.raises(CommandError, match="protected"):
        shop.up(protected.format("10.1.0.0/16", "True"))
    with pytest.raises(CommandError, match="protected"):
        shop.up("")
    assert vpcs(aws) == ["10.0.0.0/16"]
    shop.up(protected.format("10.0.0.0/16", "False"))
    shop.stack.destroy()
    assert vpcs(aws) == []


def test_one_run_may_unprotect_and_replace(shop: Workshop, aws: Client) -> None:
    protected = 'aws.ec2.Vpc("net", cidr_block="{}", opts=pulumi.ResourceOptions(protect={}))'
    shop.up(protected.format("10.0.0.0/16", "True"))
    assert shop.up(protected.format("10.1.0.0/16", "False")) == {"replace": 1}
    assert vpcs(aws) == ["10.1.0.0/16"]


def test_what_is_protected_is_not_replaced_with_its_parent(shop: Workshop, aws: Client) -> None:
    program = """
    vpc = aws.ec2.Vpc("net", cidr_block="{0}.0/16", opts=pulumi.ResourceOptions(delete_before_replace=True))
    guarded = pulumi.ResourceOptions(protect=True)
    subnet = aws.ec2.Subnet("sub", vpc_id=vpc.id, cidr_block="{0}.0/24", opts=guarded)
    """
    shop.up(program.format("10.0.0"))
    with pytest.raises(CommandError, match=r"Subnet::sub' replaced as part of replacing .*Vpc::net': it is protected"):
        shop.up(program.format("10.1.0"))
    assert vpcs(aws) == ["10.0.0.0/16"]


def test_a_retained_resource_stays_when_its_replacement_comes_after_it(shop: Workshop, aws: Client) -> None:
    program = """
    stays = pulumi.ResourceOptions(retain_on_delete=True, delete_before_replace=True)
    aws.ec2.Vpc("net", cidr_block="{}", opts=stays)
    """
    shop.up(program.format("10.0.0.0/16"))
    shop.up(program.format("10.1.0.0/16"))
    assert sorted(vpcs(aws)) == ["10.0.0.0/16", "10.1.0.0/16"]


def test_retained_resources_are_forgotten_but_stay(shop: Workshop, aws: Client) -> None:
    shop.up('aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(retain_on_delete=True))')
    shop.up("")
    assert vpcs(aws) == ["10.0.0.0/16"]


def test_secrets_stay_secret_on_their_way(shop: Workshop) -> None:
    shop.program("""
    import secrets
    drawn = pulumi.ResourceOptions(ignore_changes=["value"])
    password = aws.ssm.Parameter("token", name="/t", type="String", value=secrets.token_hex(16), opts=drawn)
    aws.ssm.Parameter("p", name="/x", type="String", value=pulumi.Output.concat("p=", password.value))
    pulumi.export("token", password.value)
    pulumi.export("derived", password.value.apply(len))
    """)
    lines: list[str] = []
    outputs = shop.stack.up(on_output=lines.append).outputs
    token = outputs["token"]
    assert (token.secret, len(token.value)) == (True, 32)
    assert (outputs["derived"].secret, outputs["derived"].value) == (True, 32)
    assert token.value not in "".join(lines)
    assert shop.up() == {}
    assert shop.stack.outputs()["token"].value == token.value
    assert (shop.stack.folder / "state.json").stat().st_mode & 0o077 == 0


def test_default_tags_of_an_explicit_provider_reach_children(shop: Workshop, aws: Client) -> None:
    program = """
    provider = aws.Provider("main", region="us-east-1", default_tags={{"tags": {{"Stack": "{}"}}}})
    class Net(pulumi.ComponentResource):
        def __init__(self, name, opts=None):
            super().__init__("shop:net:Net", name, None, opts)
            self.vpc = aws.ec2.Vpc(f"{{name}}-vpc", cidr_block="10.0.0.0/16", tags={{"Name": "n"}},
                                   opts=pulumi.ResourceOptions(parent=self))
            self.register_outputs({{"id": self.vpc.id}})
    net = Net("net", opts=pulumi.ResourceOptions(provider=provider))
    pulumi.export("tags", net.vpc.tags_all)
    """
    assert shop.up(program.format("a")) == {"create": 4}
    assert shop.outputs()["tags"] == {"Stack": "a", "Name": "n"}
    assert shop.up(program.format("b")) == {"update": 2}
    vpc = next(each for each in aws("ec2").describe_vpcs()["Vpcs"] if not each["IsDefault"])
    assert {tag["Key"]: tag["Value"] for tag in vpc["Tags"]} == {"Stack": "b", "Name": "n"}
    shop.stack.destroy()
    assert vpcs(aws) == []


def test_config_reaches_the_program_as_declared(shop: Workshop) -> None:
    (shop.root / "Pulumi.yaml").write_text(
        "name: shop\nruntime: python\nconfig:\n"
        "  count: {type: integer, default: 2}\n  blue: {type: object, default: {}}\n"
        "  open: {type: boolean, default: true}\n"
        "  aws:region: {value: eu-west-1}\n"
    )
    shop.program("""
    c = pulumi.Config()
    pulumi.export("all", [c.require_int("count"), c.require_object("blue"), c.require_bool("open"), c.get("other")])
    pulumi.export("region", aws.get_region().region)
    """)
    stack = shop.stack
    assert stack.up().outputs["all"].value == [2, {}, True, None]
    stack.set_config("blue.release", ConfigValue("v1"), path=True)
    stack.set_config("blue.maxSize", ConfigValue("3"), path=True)
    stack.set_config("shop:count", ConfigValue("5"))
    stack.set_config("other", ConfigValue("hidden", secret=True))
    assert stack.get_config("blue").value == '{"maxSize":3,"release":"v1"}'
    assert stack.get_config("blue.release", path=True).value == "v1"
    found = stack.up().outputs
    assert found["all"].value == [5, {"release": "v1", "maxSize": 3}, True, "hidden"]
    assert found["region"].value == "eu-west-1"
    stack.remove_config("count")
    assert stack.get_config("count").value == "2"
    with pytest.raises(CommandError, match="'count' must be of type 'integer'"):
        stack.set_config("count", ConfigValue("many"))
    with pytest.raises(CommandError, match="configuration key 'nope' not found for stack 'test'"):
        stack.get_config("nope")


def test_a_failure_stops_what_depends_on_it_and_is_told_in_one_place(shop: Workshop, aws: Client) -> None:
    with pytest.raises(CommandError) as caught:
        shop.up("""
        vpc = aws.ec2.Vpc("net", cidr_block="not-a-cidr")
        subnet = aws.ec2.Subnet("sub", vpc_id=vpc.id, cidr_block="10.0.1.0/24")
        pulumi.export("vpc", vpc.id)
        """)
    assert "aws:ec2/vpc:Vpc (net)" in str(caught.value)
    assert "not-a-cidr" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert shop.up(NETWORK) == {"create": 2}
    assert vpcs(aws) == ["10.0.0.0/16"]


def test_what_comes_after_a_failure_is_left_out(tmp_path: Path) -> None:
    display, hooks = Display(io.StringIO(), dry_run=False), Hooks(dry_run=False)
    state = State(tmp_path / "state.json")
    deployment = Deployment(state=state, display=display, hooks=hooks, provider_config={}, dry_run=False)
    deployment.failed.set()
    request = resource_pb2.RegisterResourceRequest(type="aws:ec2/vpc:Vpc", name="late", custom=True)
    assert EngineMonitor(deployment).RegisterResource(request).result == resource_pb2.Result.FAIL
    assert state.all() == []


def test_an_unknown_type_is_refused_before_it_is_written(shop: Workshop, traffic: Traffic) -> None:
    with pytest.raises(CommandError, match="does not know the resource type aws:sqs/queue:Queue"):
        shop.up('aws.sqs.Queue("jobs")')
    assert traffic.writes() == []


def test_an_option_that_the_engine_lacks_is_refused(shop: Workshop, traffic: Traffic) -> None:
    with pytest.raises(CommandError, match="the embedded engine has no import_"):
        shop.up('aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(import_="vpc-1"))')
    assert traffic.writes() == []


def test_an_error_of_the_program_deletes_nothing(shop: Workshop, aws: Client) -> None:
    shop.up(NETWORK)
    with pytest.raises(CommandError) as caught:
        shop.up("raise ValueError('activeColor: pink: blue or green')")
    assert "ValueError: activeColor: pink: blue or green" in str(caught.value)
    with pytest.raises(CommandError) as caught:
        shop.up("raise pulumi.RunError('activeColor: pink')")
    assert "error: activeColor: pink" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert vpcs(aws) == ["10.0.0.0/16"]


def test_a_preview_tells_all_and_does_nothing(shop: Workshop, traffic: Traffic) -> None:
    shop.program(NETWORK)
    assert counts(shop.stack.preview().change_summary) == {"create": 3}
    assert traffic.actions == []
    assert shop.up() == {"create": 3}
    traffic.actions.clear()
    shop.program(NETWORK.replace("10.0.0.0/16", "10.1.0.0/16"))
    changes = counts(shop.stack.preview().change_summary)
    assert (changes["replace"], traffic.writes()) == (2, [])


def test_a_resource_that_lost_its_place_is_deleted_after_what_used_it(shop: Workshop, traffic: Traffic) -> None:
    shop.up(NETWORK)
    traffic.actions.clear()
    assert shop.up("") == {"delete": 2}
    assert traffic.writes() == ["DeleteSubnet", "DeleteVpc"]


def test_refresh_notices_what_is_gone(shop: Workshop, aws: Client) -> None:
    shop.up(NETWORK)
    subnet = next(each for each in aws("ec2").describe_subnets()["Subnets"] if each["CidrBlock"] == "10.0.1.0/24")
    aws("ec2").delete_subnet(SubnetId=subnet["SubnetId"])
    assert counts(shop.stack.refresh().summary.resource_changes)["delete"] == 1
    assert shop.up() == {"create": 1}


def test_history_tells_each_run(shop: Workshop) -> None:
    shop.up(NETWORK)
    with pytest.raises(CommandError):
        shop.up("raise pulumi.RunError('no')")
    shop.stack.destroy(message="gone")
    found = shop.stack.history()
    assert [(each.kind, each.result, each.version) for each in found] == [
        ("destroy", "succeeded", 3),
        ("update", "failed", 2),
        ("update", "succeeded", 1),
    ]
    assert (found[0].message, found[2].resource_changes) == ("gone", {"create": 3})


def test_a_stack_that_nobody_made_is_not_found(shop: Workshop) -> None:
    from pulumi.automation.errors import StackNotFoundError

    from rehearsal.engine import Stack

    with pytest.raises(StackNotFoundError, match="no stack named 'prd' found"):
        Stack("prd", project=shop.root, state_dir=shop.state_dir)
