"""All rules of the policy pack, and a function that checks a stack against them."""

from __future__ import annotations

from collections.abc import Sequence

from policy import encryption, exposure, operations, permissions, traffic
from policy.stack import UNKNOWN, Resource, Rule, RuleViolation, StackResources

__all__ = ["RULES", "UNKNOWN", "Resource", "Rule", "RuleViolation", "StackResources", "check"]

RULES: tuple[Rule, ...] = (
    Rule(
        name="users-kept",
        description="No update by an old config, or without explicit consent, changes the traffic or a live release.",
        find=traffic.users_kept,
    ),
    Rule(
        name="public-access-block",
        description="Every bucket blocks public access in all four ways.",
        find=exposure.public_access_block,
        per_resource=False,
    ),
    Rule(name="public-acl", description="No ACL opens a bucket or an object to others.", find=exposure.public_acl),
    Rule(
        name="public-principal",
        description="No resource policy allows everybody.",
        find=exposure.public_principal,
    ),
    Rule(
        name="open-ingress",
        description="Only the load balancer's listeners are open to the Internet.",
        find=exposure.open_ingress,
        per_resource=False,
    ),
    Rule(
        name="instance-metadata",
        description="Instances require IMDSv2.",
        find=exposure.instance_metadata,
    ),
    Rule(
        name="bucket-encryption",
        description="Every bucket has an encryption configuration.",
        find=encryption.buckets,
        per_resource=False,
    ),
    Rule(name="volume-encryption", description="Volumes are encrypted.", find=encryption.volumes),
    Rule(name="topic-encryption", description="Topics are encrypted with a key.", find=encryption.topics),
    Rule(
        name="secret-parameters",
        description="Parameters with secrets are SecureStrings.",
        find=encryption.secret_parameters,
    ),
    Rule(
        name="wildcard-permissions",
        description="IAM policies name actions and resources; a * needs a listed reason.",
        find=permissions.wildcards,
    ),
    Rule(
        name="broad-attachments",
        description="No role has a policy that grants an entire service or the account.",
        find=permissions.broad_attachments,
    ),
    Rule(
        name="required-tags",
        description="Every resource that AWS can tag has Stack, Project and ManagedBy, instances and volumes included.",
        find=operations.required_tags,
    ),
    Rule(name="log-retention", description="Every log group has a retention.", find=operations.log_retention),
    Rule(
        name="deletion-protection",
        description="In a protected stack the VPC, the buckets and the load balancer can't be deleted by mistake.",
        find=operations.deletion_protection,
    ),
    Rule(
        name="zones",
        description="In a protected stack the load balancer and the instances are in two zones or more.",
        find=operations.zones,
        per_resource=False,
    ),
    Rule(
        name="both-colors",
        description="Every forward action names both colors, so that a cutover is a change of weights.",
        find=traffic.both_colors,
    ),
    Rule(name="stickiness", description="No target group or forward action is sticky.", find=traffic.stickiness),
)


def check(resources: Sequence[Resource], *, protected: bool) -> list[RuleViolation]:
    """All violations of a stack, in the order of the rules; `protected` is the stack's setting `protect`."""
    stack = StackResources(resources=resources, protected=protected)
    return [violation for rule in RULES for violation in rule.check(stack)]
