"""Resources as the config lists them: each node's kind, what it is made of, what it needs, and its options."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

Node = Mapping[str, Any]

config = pulumi.Config()
notes = Path(config.require("notes"))
provider = aws.Provider("aws", region="us-east-1", default_tags={"tags": {"Stack": "graph"}})
team = pulumi.ComponentResource("graph:team:Team", "team", {}, pulumi.ResourceOptions(provider=provider))
made: dict[str, Any] = {}


def label(node: Node) -> pulumi.Output[str]:
    """What the node says of itself, and the ids of what it needs: a new id is a change."""
    ids = [made[name].id for name in node["needs"]]
    return pulumi.Output.all(*ids).apply(lambda found: "/".join([node["label"], *found]))


def tags(node: Node) -> dict[str, Any]:
    return {"Node": node["name"], "Label": label(node)}


def range_(node: Node, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    return aws.ec2.Vpc(node["name"], cidr_block=f"10.{node['shape']}.0.0/16", tags=tags(node), opts=opts)


def group(node: Node, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    vpc = made[node["inside"]].id
    return aws.ec2.SecurityGroup(
        node["name"], vpc_id=vpc, description=f"shape {node['shape']}", tags=tags(node), opts=opts
    )


def log(node: Node, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    return aws.cloudwatch.LogGroup(node["name"], name_prefix=f"{node['shape']}-", tags=tags(node), opts=opts)


def parameter(node: Node, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    value: pulumi.Output[str] = label(node)
    if node["secret"]:
        value = pulumi.Output.secret(value)
    name = f"/graph/{node['name']}/{node['shape']}"
    return aws.ssm.Parameter(node["name"], name=name, type="String", value=value, opts=opts)


def note(args: pulumi.ResourceHookArgs) -> None:
    moment = "before" if args.new_outputs is None and args.old_outputs is None else "after"
    with notes.open("a") as file:
        file.write(f"{moment} {args.name}\n")


hook = pulumi.ResourceHook("note", note)
every = pulumi.ResourceHookBinding(before_create=[hook], after_create=[hook])


def options(node: Node) -> pulumi.ResourceOptions:
    child = pulumi.ResourceOptions(parent=team) if node["child"] else pulumi.ResourceOptions(provider=provider)
    return pulumi.ResourceOptions.merge(
        child,
        pulumi.ResourceOptions(
            depends_on=[made[name] for name in node["after"]],
            protect=node["protect"],
            retain_on_delete=node["retain"],
            delete_before_replace=True if node["first"] else None,
            ignore_changes=node["ignore"],
            replace_on_changes=node["replace"],
            hooks=every,
        ),
    )


MAKERS: dict[str, Callable[[Node, pulumi.ResourceOptions], pulumi.Resource]] = {
    "vpc": range_,
    "group": group,
    "log": log,
    "parameter": parameter,
}
for each in config.require_object("nodes"):
    made[each["name"]] = MAKERS[each["kind"]](each, options(each))
pulumi.export("ids", {name: resource.id for name, resource in made.items()})
