"""Rules on public access: nothing is public but the load balancer's listeners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from policy.documents import is_public, statements
from policy.stack import UNKNOWN, Findings, Resource, StackResources, at, is_on, items, known, shown

BUCKET = "aws:s3/bucket:Bucket"
ACCESS_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
LOAD_BALANCER, LISTENER = "aws:lb/loadBalancer:LoadBalancer", "aws:lb/listener:Listener"
# The property that contains a resource's own policy.
RESOURCE_POLICIES = {
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:kms/keyPolicy:KeyPolicy": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:iam/role:Role": "assumeRolePolicy",
}


def public_access_block(stack: StackResources) -> Findings:
    blocks = stack.all(ACCESS_BLOCK)
    for bucket in stack.all(BUCKET):
        if not any(stack.refers(block, "bucket", bucket) for block in blocks):
            yield bucket, "there is no public access block for the bucket; allowed is a bucket with one"
    for block in blocks:
        for key in BLOCKS:
            value = at(block.props, key)
            if known(value) and not is_on(value):
                yield block, f"{key} is {shown(value)}; allowed is true"


def public_acl(stack: StackResources) -> Findings:
    for each in stack.all(BUCKET, "aws:s3/bucketAcl:BucketAcl", "aws:s3/bucketObject:BucketObject"):
        acl = at(each.props, "acl")
        if isinstance(acl, str) and (acl.startswith("public-") or acl == "authenticated-read"):
            yield each, f"acl is {acl}; allowed are ACLs for the account's own use, such as private"


def public_principal(stack: StackResources) -> Findings:
    for each in stack.all(*RESOURCE_POLICIES):
        for statement in statements(at(each.props, RESOURCE_POLICIES[each.type])):
            if is_public(statement):
                yield (
                    each,
                    f"statement {shown(statement.get('Sid'))} allows principal *; "
                    "allowed are named principals, or a condition on the source's account, organization, ARN or VPC",
                )


def instance_metadata(stack: StackResources) -> Findings:
    for each in stack.all("aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/instance:Instance"):
        tokens = at(each.props, "metadataOptions", "httpTokens")
        if at(each.props, "metadataOptions", "httpEndpoint") != "disabled" and known(tokens) and tokens != "required":
            yield each, f"metadataOptions.httpTokens is {shown(tokens)}; allowed is required (IMDSv2)"


@dataclass(frozen=True, kw_only=True)
class Ingress:
    """An ingress rule: `group` is the property that names the security group, empty for an inline rule of the group."""

    resource: Resource
    group: str
    ranges: tuple[str, ...]
    protocol: Any
    ports: tuple[Any, Any]

    def __str__(self) -> str:
        first, last = (shown(port) for port in self.ports)
        return f"{self.protocol} {first}" if first == last else f"{self.protocol} {first} to {last}"


def open_ingress(stack: StackResources) -> Findings:
    for ingress in _ingress_rules(stack):
        public = [cidr for cidr in ingress.ranges if _is_any_address(cidr)]
        allowed = _listener_ports(stack, ingress)
        if public and not _is_listener_rule(ingress, allowed):
            ports = ", ".join(map(str, sorted(allowed)))
            yield (
                ingress.resource,
                f"{public[0]} is allowed in on {ingress}; "
                + (f"allowed is tcp on a port of the load balancer's listeners ({ports})" if allowed else NOT_PUBLIC),
            )


NOT_PUBLIC = "allowed are ranges of your own, or another security group: only the load balancer is open to all"


def _ingress_rules(stack: StackResources) -> Iterator[Ingress]:
    for each in stack.all("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"):
        yield _ingress_rule(each, "securityGroupId", each.props, "ipProtocol", ("cidrIpv4", "cidrIpv6"))
    for each in stack.all("aws:ec2/securityGroupRule:SecurityGroupRule"):
        if at(each.props, "type") == "ingress":
            yield _ingress_rule(each, "securityGroupId", each.props, "protocol", ("cidrBlocks", "ipv6CidrBlocks"))
    for each in stack.all("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"):
        for inline in items(at(each.props, "ingress")):
            yield _ingress_rule(each, "", inline, "protocol", ("cidrBlocks", "ipv6CidrBlocks"))


def _ingress_rule(resource: Resource, group: str, rule: Any, protocol: str, keys: tuple[str, str]) -> Ingress:
    values = [at(rule, key) for key in keys]
    ranges = [cidr for value in values for cidr in (items(value) if isinstance(value, list) else [value])]
    return Ingress(
        resource=resource,
        group=group,
        ranges=tuple(cidr for cidr in ranges if isinstance(cidr, str)),
        protocol=at(rule, protocol),
        ports=(at(rule, "fromPort"), at(rule, "toPort")),
    )


def _is_any_address(cidr: str) -> bool:
    try:
        return ip_network(cidr, strict=False).prefixlen == 0
    except ValueError:
        return False


def _listener_ports(stack: StackResources, ingress: Ingress) -> set[Any]:
    """Listener ports of the load balancers in the rule's security group; UNKNOWN is possible."""
    ports: set[Any] = set()
    for load_balancer in stack.all(LOAD_BALANCER):
        if any(stack.refers(load_balancer, "securityGroups", group) for group in _groups(stack, ingress)):
            for listener in stack.all(LISTENER):
                port = at(listener.props, "port")
                if port is not None and stack.refers(listener, "loadBalancerArn", load_balancer):
                    ports.add(int(port) if known(port) else UNKNOWN)
    return ports


def _groups(stack: StackResources, ingress: Ingress) -> list[Resource]:
    if not ingress.group:
        return [ingress.resource]
    groups = stack.all("aws:ec2/securityGroup:SecurityGroup")
    return [group for group in groups if stack.refers(ingress.resource, ingress.group, group)]


def _is_listener_rule(ingress: Ingress, allowed: set[Any]) -> bool:
    """Unknown values, of the rule or of the listeners, count as matching."""
    first, last = ingress.ports
    tcp = ingress.protocol in ("tcp", "6", UNKNOWN)
    one_port = first == last or UNKNOWN in (first, last)
    return tcp and one_port and bool(allowed) and (first in allowed or UNKNOWN in (first, *allowed))
