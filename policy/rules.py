"""All rules of the policy pack, and the one function that judges a stack by them."""

from __future__ import annotations

from collections.abc import Sequence

from policy import encryption, exposure, keeping, permissions, traffic
from policy.stack import UNKNOWN, Resource, Rule, Stack, Violation

__all__ = ["RULES", "UNKNOWN", "Resource", "Rule", "Stack", "Violation", "judge"]

RULES: tuple[Rule, ...] = (
    Rule(
        name="users-kept",
        description="No update by old config, or without its own word, takes users away or moves them.",
        find=traffic.users_kept,
    ),
    Rule(
        name="public-access-block",
        description="Every bucket blocks public access in all four ways.",
        find=exposure.public_access_block,
        alone=False,
    ),
    Rule(name="public-acl", description="No ACL opens a bucket or an object to others.", find=exposure.public_acl),
    Rule(
        name="public-principal",
        description="No resource's own policy lets everybody in.",
        find=exposure.public_principal,
    ),
    Rule(
        name="open-ingress",
        description="The world comes in by the load balancer's listeners and nowhere else.",
        find=exposure.open_ingress,
        alone=False,
    ),
    Rule(
        name="instance-metadata",
        description="Machines give out their credentials by IMDSv2 only.",
        find=exposure.instance_metadata,
    ),
    Rule(
        name="bucket-encryption",
        description="Every bucket has an encryption configuration.",
        find=encryption.buckets,
        alone=False,
    ),
    Rule(name="volume-encryption", description="Volumes are encrypted.", find=encryption.volumes),
    Rule(name="topic-encryption", description="Topics are encrypted with a key.", find=encryption.topics),
    Rule(
        name="secret-parameters",
        description="Parameters that hold secrets are SecureStrings.",
        find=encryption.secret_parameters,
    ),
    Rule(
        name="wildcard-permissions",
        description="IAM policies name actions and resources; a * needs a listed reason.",
        find=permissions.wildcards,
    ),
    Rule(
        name="broad-attachments",
        description="No role gets a policy that gives away a whole service or the account.",
        find=permissions.broad_attachments,
    ),
    Rule(
        name="required-tags",
        description="Stack, Project and ManagedBy are on all that AWS can tag, machines and volumes included.",
        find=keeping.required_tags,
    ),
    Rule(name="log-retention", description="Every log group forgets some day.", find=keeping.log_retention),
    Rule(
        name="deletion-protection",
        description="In a protected stack the VPC, the buckets and the load balancer can't be deleted by mistake.",
        find=keeping.deletion_protection,
    ),
    Rule(
        name="zones",
        description="In a protected stack balancer and machines stand in two zones or more.",
        find=keeping.zones,
        alone=False,
    ),
    Rule(
        name="both-colors",
        description="Every forward names both colors, so that a switch is a change of weights.",
        find=traffic.both_colors,
    ),
    Rule(name="stickiness", description="No user is tied to a color.", find=traffic.stickiness),
)


def judge(resources: Sequence[Resource], *, protected: bool) -> list[Violation]:
    """Everything that the rules have against a stack, by rule; `protected` as the stack's setting `protect` says."""
    stack = Stack(resources=resources, protected=protected)
    return [violation for rule in RULES for violation in rule.check(stack)]
