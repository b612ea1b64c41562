"""Rules on IAM policies: named actions on named resources; each exception is listed here with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy.documents import condition_keys, listed, statements
from policy.stack import Findings, StackResources, at

DOCUMENTS = {
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/policy:Policy": "policy",
    "aws:iam/userPolicy:UserPolicy": "policy",
    "aws:iam/groupPolicy:GroupPolicy": "policy",
}
ATTACHMENTS = (
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
)
# AWS managed policies that grant an account or an entire service.
BROAD = ("AdministratorAccess", "PowerUserAccess", "FullAccess")
# Actions that support no ARN (AWS, Service Authorization Reference), or are documented with * only.
WITHOUT_ARN = frozenset(
    {
        "ecr:getauthorizationtoken",
        "ssm:updateinstanceinformation",  # Session Manager, minimal profile
        "ssmmessages:createcontrolchannel",
        "ssmmessages:createdatachannel",
        "ssmmessages:opencontrolchannel",
        "ssmmessages:opendatachannel",
    }
)
# Services whose Describe actions support no ARN.
DESCRIBED_WITHOUT_ARN = frozenset({"autoscaling", "ec2", "elasticloadbalancing"})
# Actions without an ARN that a condition can restrict, and its key.
RESTRICTED_BY = {"cloudwatch:putmetricdata": "cloudwatch:namespace"}


def wildcards(stack: StackResources) -> Findings:
    for each in stack.all(*DOCUMENTS):
        for statement in statements(at(each.props, DOCUMENTS[each.type])):
            sid = statement.get("Sid") or "without Sid"
            for problem in _problems(statement):
                yield each, f"statement {sid} {problem}"


def broad_attachments(stack: StackResources) -> Findings:
    for each in stack.all(*ATTACHMENTS):
        arn = at(each.props, "policyArn")
        if isinstance(arn, str) and arn.endswith(BROAD):
            yield each, f"policyArn is {arn}; allowed are policies that name actions and resources"


def _problems(statement: Mapping[str, Any]) -> list[str]:
    problems = [
        f"allows action {action}; allowed are actions by name"
        for action in listed(statement.get("Action"))
        if _is_all_actions(str(action))
    ]
    problems += [
        f"allows all but what {key} lists; allowed are lists of actions and resources"
        for key in ("NotAction", "NotResource")
        if key in statement
    ]
    everything = [str(resource) for resource in listed(statement.get("Resource")) if _is_all_resources(str(resource))]
    unjustified = [str(action) for action in listed(statement.get("Action")) if not _needs_no_arn(action, statement)]
    if everything and unjustified:
        problems.append(
            f"allows {', '.join(unjustified)} on {everything[0]}; "
            "allowed are ARNs, or actions and conditions that policy/permissions.py lists"
        )
    return problems


def _is_all_actions(action: str) -> bool:
    """`*`, `s3:*`, and other ways to write them."""
    return not action.rpartition(":")[2].strip("*?")


def _is_all_resources(resource: str) -> bool:
    """`*`, and ARNs that name a service but no resource."""
    return not resource.split(":", 5)[-1].strip("*?")


def _needs_no_arn(action: Any, statement: Mapping[str, Any]) -> bool:
    name = str(action).lower()
    service, _, verb = name.partition(":")
    if name in WITHOUT_ARN or (service in DESCRIBED_WITHOUT_ARN and verb.startswith("describe")):
        return True
    return RESTRICTED_BY.get(name, "") in condition_keys(statement)
