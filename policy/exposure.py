"""Nothing is open to everybody but the load balancer's own ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from policy.documents import open_to_everybody, statements
from policy.stack import UNKNOWN, Findings, Resource, Stack, at, is_on, items, known, shown

BUCKET = "aws:s3/bucket:Bucket"
ACCESS_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
BALANCER, LISTENER = "aws:lb/loadBalancer:LoadBalancer", "aws:lb/listener:Listener"
# Who may use a thing stands in its own policy; in which property, differs.
OWN_POLICIES = {
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:kms/keyPolicy:KeyPolicy": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:iam/role:Role": "assumeRolePolicy",
}


def public_access_block(stack: Stack) -> Findings:
    blocks = stack.all(ACCESS_BLOCK)
    for bucket in stack.all(BUCKET):
        if not any(stack.refers(block, "bucket", bucket) for block in blocks):
            yield bucket, "there is no public access block for the bucket; allowed is a bucket with one"
    for block in blocks:
        for key in BLOCKS:
            value = at(block.props, key)
            if known(value) and not is_on(value):
                yield block, f"{key} is {shown(value)}; allowed is true"


def public_acl(stack: Stack) -> Findings:
    for each in stack.all(BUCKET, "aws:s3/bucketAcl:BucketAcl", "aws:s3/bucketObject:BucketObject"):
        acl = at(each.props, "acl")
        if isinstance(acl, str) and (acl.startswith("public-") or acl == "authenticated-read"):
            yield each, f"acl is {acl}; allowed are ACLs for the account's own use, such as private"


def public_principal(stack: Stack) -> Findings:
    for each in stack.all(*OWN_POLICIES):
        for statement in statements(at(each.props, OWN_POLICIES[each.type])):
            if open_to_everybody(statement):
                yield (
                    each,
                    f"statement {shown(statement.get('Sid'))} allows principal *; "
                    "allowed are named principals, or a condition on the source's account, organization, ARN or VPC",
                )


def instance_metadata(stack: Stack) -> Findings:
    for each in stack.all("aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/instance:Instance"):
        tokens = at(each.props, "metadataOptions", "httpTokens")
        if at(each.props, "metadataOptions", "httpEndpoint") != "disabled" and known(tokens) and tokens != "required":
            yield each, f"metadataOptions.httpTokens is {shown(tokens)}; allowed is required (IMDSv2)"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What one rule lets in: `group` says which property names the security group, empty for the group itself."""

    resource: Resource
    group: str
    ranges: tuple[str, ...]
    protocol: Any
    ports: tuple[Any, Any]

    def __str__(self) -> str:
        first, last = (shown(port) for port in self.ports)
        return f"{self.protocol} {first}" if first == last else f"{self.protocol} {first} to {last}"


def open_ingress(stack: Stack) -> Findings:
    for opening in _openings(stack):
        everybody = [cidr for cidr in opening.ranges if _is_everybody(cidr)]
        allowed = _balancer_ports(stack, opening)
        if everybody and not _is_for_users(opening, allowed):
            ports = ", ".join(map(str, sorted(allowed)))
            yield (
                opening.resource,
                f"{everybody[0]} may come in on {opening}; "
                + (f"allowed is tcp on a port of the balancer's listeners ({ports})" if allowed else NOBODY),
            )


NOBODY = "allowed are ranges of your own, or another security group: only the load balancer is open to all"


def _openings(stack: Stack) -> Iterator[Opening]:
    for each in stack.all("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"):
        yield _opening(each, "securityGroupId", each.props, "ipProtocol", ("cidrIpv4", "cidrIpv6"))
    for each in stack.all("aws:ec2/securityGroupRule:SecurityGroupRule"):
        if at(each.props, "type") == "ingress":
            yield _opening(each, "securityGroupId", each.props, "protocol", ("cidrBlocks", "ipv6CidrBlocks"))
    for each in stack.all("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"):
        for inline in items(at(each.props, "ingress")):
            yield _opening(each, "", inline, "protocol", ("cidrBlocks", "ipv6CidrBlocks"))


def _opening(resource: Resource, group: str, rule: Any, protocol: str, keys: tuple[str, str]) -> Opening:
    given = [at(rule, key) for key in keys]
    ranges = [cidr for value in given for cidr in (items(value) if isinstance(value, list) else [value])]
    return Opening(
        resource=resource,
        group=group,
        ranges=tuple(cidr for cidr in ranges if isinstance(cidr, str)),
        protocol=at(rule, protocol),
        ports=(at(rule, "fromPort"), at(rule, "toPort")),
    )


def _is_everybody(cidr: str) -> bool:
    try:
        return ip_network(cidr, strict=False).prefixlen == 0
    except ValueError:
        return False


def _balancer_ports(stack: Stack, opening: Opening) -> set[Any]:
    """Ports of the listeners of the balancers in the opening's security group, perhaps UNKNOWN among them."""
    ports: set[Any] = set()
    for balancer in stack.all(BALANCER):
        if any(stack.refers(balancer, "securityGroups", group) for group in _groups(stack, opening)):
            for listener in stack.all(LISTENER):
                port = at(listener.props, "port")
                if port is not None and stack.refers(listener, "loadBalancerArn", balancer):
                    ports.add(int(port) if known(port) else UNKNOWN)
    return ports


def _groups(stack: Stack, opening: Opening) -> list[Resource]:
    if not opening.group:
        return [opening.resource]
    groups = stack.all("aws:ec2/securityGroup:SecurityGroup")
    return [group for group in groups if stack.refers(opening.resource, opening.group, group)]


def _is_for_users(opening: Opening, allowed: set[Any]) -> bool:
    """What is unknown, of the opening or of the listeners, is taken to fit."""
    first, last = opening.ports
    tcp = opening.protocol in ("tcp", "6", UNKNOWN)
    one_port = first == last or UNKNOWN in (first, last)
    return tcp and one_port and bool(allowed) and (first in allowed or UNKNOWN in (first, *allowed))
