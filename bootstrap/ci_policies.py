"""IAM policies of CI, as plain data: pure functions of names and ARNs, which tests compare entirely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.subjects import AUDIENCE, ISSUER
from components.policy_documents import TOPIC_KEY_ROLE, Document, allow, document

OWN_PROJECT = "bluegreen-bootstrap"  # the name in this program's Pulumi.yaml, part of its state's path
# First part of the main program's names: paths of parameters, log groups, repositories and roles.
PREFIX = "bluegreen"
# Pulumi names of the main program's resources, to which it adds a random suffix.
BUCKETS, TOPICS, ARCHIVE, EVENTS = "artifacts", "alerts", "log-archive", "machine-events"
SERVICES_WITH_ROLES = (
    "ec2.amazonaws.com", "events.amazonaws.com", "firehose.amazonaws.com", "logs.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
)  # fmt: skip
KEY_USERS = ("ec2", "sns", "ssm")
SERVICES_WITH_OWN_ROLES = (
    "autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com", "s2svpn.amazonaws.com",
    "transitgateway.amazonaws.com",
)  # fmt: skip

Statement = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Account:
    """The AWS account of the ARNs. `project` begins the names of this program's resources."""

    partition: str
    id: str
    project: str

    @property
    def ci_path(self) -> str:
        """IAM path of the CI roles and their boundary; roles that CI creates have another."""
        return f"/{self.project}-ci/"

    @property
    def boundary_arn(self) -> str:
        return self.iam(f"policy{self.ci_path}{self.boundary_name}")

    @property
    def boundary_name(self) -> str:
        return f"{self.project}-boundary"

    def iam(self, resource: str) -> str:
        return f"arn:{self.partition}:iam::{self.id}:{resource}"

    def anywhere(self, service: str, resource: str) -> str:
        # Any region: the state is in one, stacks may be in others.
        return f"arn:{self.partition}:{service}:*:{self.id}:{resource}"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """ARNs of the state bucket and its key."""

    bucket_arn: str
    key_arn: str


def trust(provider_arn: str, subjects: Sequence[str]) -> Document:
    """Trust policy of a CI role: jobs with these subjects, in tokens issued for AWS. Exact names, no patterns."""
    claims = {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": list(subjects)}
    return document(
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": provider_arn},
            "Condition": {"StringEquals": claims},
        }
    )


def key_policy(account: Account) -> Document:
    """Key policy that leaves access to IAM policies; without it not even an administrator could use the key."""
    # In a key policy * is that key.
    return document(allow("AccountPolicies", ["kms:*"], "*") | {"Principal": {"AWS": account.iam("root")}})


def preview(account: Account, backend: Backend) -> Document:
    """Permissions of `pulumi preview --refresh`: read state and resources, neither objects nor the app's parameters."""
    return document(*_read_state(backend), *_read(account), _deny_app_parameters(account))


def deploy(account: Account, backend: Backend) -> Document:
    """Permissions of `pulumi up`, the commands and a build of the AMI. The boundary applies as well."""
    return document(
        *_read_state(backend),
        *_write_state(backend),
        *_read(account),
        *_manage(account),
        *_manage_roles(account),
        _deny_app_parameters(account),
    )


def boundary(account: Account, backend: Backend) -> Document:
    """Maximum permissions of the deploy role and of every role that it creates: no role can exceed them."""
    return document(
        *_read_state(backend),
        *_write_state(backend),
        *_read_the_rest(account),
        *_manage(account),
        *_manage_roles(account),
        *_instances_only(account),
        *_guard_rails(account, backend),
    )


def _read_state(backend: Backend) -> tuple[Statement, ...]:
    return (
        allow("FindState", ["s3:GetBucketLocation", "s3:ListBucket"], backend.bucket_arn),
        # All of the bucket's objects: it contains nothing but state.
        allow("ReadState", ["s3:GetObject"], f"{backend.bucket_arn}/*"),
        allow("DecryptSecrets", ["kms:Decrypt", "kms:DescribeKey"], backend.key_arn),
    )


def _write_state(backend: Backend) -> tuple[Statement, ...]:
    return (
        # Without DeleteObjectVersion: overwritten or deleted state can be restored.
        allow("WriteState", ["s3:DeleteObject", "s3:PutObject"], f"{backend.bucket_arn}/*"),
        allow("EncryptSecrets", ["kms:Encrypt", "kms:GenerateDataKey"], backend.key_arn),
    )


def _read(account: Account) -> tuple[Statement, ...]:
    """Read resources. A * at an ARN's end stands for stacks and their resources, or for Pulumi's suffix."""
    return (
        # Lists and descriptions mostly support no ARN, and return metadata only.
        allow("Describe", [*_INSTANCE_DESCRIBES, *_DESCRIBES], "*"),
        # GetBucket* and Get*Configuration are a bucket's settings; its objects are GetObject.
        allow(
            "ReadBucketSettings",
            ["s3:GetBucket*", "s3:Get*Configuration", "s3:ListBucket", "s3:ListTagsForResource"],
            *_buckets(account),
        ),
        allow(
            "ReadArchive",
            ["firehose:DescribeDeliveryStream", "firehose:ListTagsForDeliveryStream"],
            _streams(account),
        ),
        # List* covers a rule's targets and tags.
        allow("ReadRules", ["events:DescribeRule", "events:List*"], _rules(account)),
        allow("ReadImages", [f"ecr:{action}" for action in _IMAGE_READS], _images(account)),
        allow(
            "ReadParameters",
            ["ssm:GetParameter", "ssm:GetParameters", "ssm:ListTagsForResource"],
            account.anywhere("ssm", f"parameter/{PREFIX}/*"),
        ),
        _read_roles(account),
    )


def _read_the_rest(account: Account) -> tuple[Statement, ...]:
    """Read permissions that the others do not include: IAM limits a policy to 6144 characters."""
    # Lists and descriptions, as for reading.
    return (allow("Describe", _DESCRIBES, "*"), _read_roles(account))


def _read_roles(account: Account) -> Statement:
    roles = (account.iam(f"role/{PREFIX}/*"), account.iam(f"instance-profile/{PREFIX}/*"))
    return allow("ReadRoles", [f"iam:{action}" for action in _ROLE_READS], *roles)


# A * at an end stands for the resource types of the service.
_INSTANCE_DESCRIBES = (
    "autoscaling:Describe*", "cloudwatch:Describe*", "cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource",
    "ec2:Describe*", "ec2:GetManagedPrefixListEntries", "elasticloadbalancing:Describe*",
)  # fmt: skip
_DESCRIBES = (
    "acm:DescribeCertificate", "acm:ListCertificates", "acm:ListTagsForCertificate", "ecr:DescribeRepositories",
    "ecr:GetAuthorizationToken", "kms:Describe*", "kms:Get*", "kms:List*", "logs:Describe*", "logs:ListTags*",
    "route53:Get*", "route53:List*", "sns:Get*", "sns:List*", "ssm:DescribeParameters",
)  # fmt: skip
_IMAGE_READS = (
    "BatchCheckLayerAvailability", "BatchGetImage", "DescribeImages", "GetDownloadUrlForLayer", "GetLifecyclePolicy",
    "GetRepositoryPolicy", "ListTagsForResource",
)  # fmt: skip
_ROLE_READS = (
    "GetInstanceProfile", "GetRole", "GetRolePolicy", "ListAttachedRolePolicies", "ListInstanceProfileTags",
    "ListInstanceProfilesForRole", "ListRolePolicies", "ListRoleTags",
)  # fmt: skip


def _manage(account: Account) -> tuple[Statement, ...]:
    """Manage the main program's resources, restricted to their names where AWS supports it."""
    return (
        # Networks, instances, load balancers and alarms have ids that AWS generates, and many support no tags.
        # So have the log deliveries of a VPN tunnel, which a resource policy of the account lets into its log group.
        allow("Instances", _INSTANCES, "*"),
        # An action applies to resources of its own service only: one statement is shorter than six.
        allow("Named", _NAMED, *_named(account)),
        *_topic_keys(account),
        # AWS creates a VPN's keys under this name, on behalf of the VPN's creator: write only.
        allow("VpnKeys", [f"secretsmanager:{action}" for action in _KEY_WRITES], _tunnel_keys(account)),
        # The hosted zone is a stack's setting; zones are not created here.
        allow("Names", ["route53:ChangeResourceRecordSets"], f"arn:{account.partition}:route53:::hostedzone/*"),
    )


# All actions of these services; of CloudWatch Logs only log deliveries (*LogDeliver*).
_INSTANCES = (
    "autoscaling:*", "cloudwatch:*", "ec2:*", "elasticloadbalancing:*", "logs:*LogDeliver*", "logs:PutResourcePolicy",
)  # fmt: skip
# All actions of these services, on resources with the program's names.
_NAMED = ("ecr:*", "events:*", "firehose:*", "logs:*", "s3:*", "sns:*", "ssm:*")
# *Secret is Create, Delete, Describe and Update: no action that reads a value ends so. Tag* is TagResource.
_KEY_WRITES = ("*Secret", "PutSecretValue", "Tag*")


def _named(account: Account) -> tuple[str, ...]:
    """The * is a stack's name and resource, or Pulumi's suffix; a bucket's includes its objects."""
    return (
        _images(account),
        _rules(account),
        _streams(account),
        account.anywhere("logs", f"log-group:/{PREFIX}/*"),
        *_buckets(account),
        account.anywhere("sns", f"{TOPICS}-*"),
        account.anywhere("ssm", f"parameter/{PREFIX}/*"),
    )


def _topic_keys(account: Account) -> tuple[Statement, ...]:
    """AWS generates a key's id: topic keys are recognized by a tag that they have from creation."""
    keys = account.anywhere("kms", "key/*")
    return (
        # A new key has no ARN yet. TagResource could also claim an existing key: a guard rail protects the state's.
        allow("CreateKeys", ["kms:CreateKey", "kms:TagResource"], "*")
        | {"Condition": {"StringEquals": {"aws:RequestTag/Role": TOPIC_KEY_ROLE}}},
        # *KeyRotation is Enable and Disable.
        allow("ManageKeys", [f"kms:{action}" for action in _TOPIC_KEY_WRITES], keys)
        | {"Condition": {"StringEquals": {"aws:ResourceTag/Role": TOPIC_KEY_ROLE}}},
    )


_TOPIC_KEY_WRITES = (
    "*KeyRotation", "PutKeyPolicy", "ScheduleKeyDeletion", "UntagResource", "UpdateKeyDescription",
    # To publish to a topic that the key encrypts, as the commands do.
    "Decrypt", "GenerateDataKey*",
)  # fmt: skip


def _buckets(account: Account) -> tuple[str, ...]:
    return tuple(f"arn:{account.partition}:s3:::{name}-*" for name in (BUCKETS, ARCHIVE))


def _streams(account: Account) -> str:
    return account.anywhere("firehose", f"deliverystream/{ARCHIVE}-*")


def _rules(account: Account) -> str:
    return account.anywhere("events", f"rule/{EVENTS}-*")


def _tunnel_keys(account: Account) -> str:
    return account.anywhere("secretsmanager", "secret:s2svpn!*")


def _images(account: Account) -> str:
    return account.anywhere("ecr", f"repository/{PREFIX}/*")


def _manage_roles(account: Account) -> tuple[Statement, ...]:
    """Manage roles of the main program's path, with the boundary only: no privilege escalation by a new role."""
    roles, profiles = account.iam(f"role/{PREFIX}/*"), account.iam(f"instance-profile/{PREFIX}/*")
    writes = ("AttachRolePolicy", "CreateRole", "DeleteRolePolicy", "DetachRolePolicy", "PutRolePermissionsBoundary")
    updates = ("DeleteRole", "TagRole", "UntagRole", "UpdateAssumeRolePolicy", "UpdateRole", "UpdateRoleDescription")
    profile_writes = (
        "AddRoleToInstanceProfile", "CreateInstanceProfile", "DeleteInstanceProfile", "RemoveRoleFromInstanceProfile",
        "TagInstanceProfile", "UntagInstanceProfile",
    )  # fmt: skip
    return (
        allow("CreateBoundedRoles", [f"iam:{action}" for action in (*writes, "PutRolePolicy")], roles)
        | {"Condition": {"StringEquals": {"iam:PermissionsBoundary": account.boundary_arn}}},
        # These support no boundary condition. A role on this path has it, or was created by a user's own `pulumi up`.
        allow("UpdateRoles", [f"iam:{action}" for action in updates], roles),
        allow("ManageProfiles", [f"iam:{action}" for action in profile_writes], profiles),
        allow("PassRoles", ["iam:PassRole"], roles)
        | {"Condition": {"StringEquals": {"iam:PassedToService": list(SERVICES_WITH_ROLES)}}},
        # Created with the first group, load balancer, VPN or transit gateway of an account; AWS defines their policies.
        allow("ServiceLinkedRoles", ["iam:CreateServiceLinkedRole"], account.iam("role/aws-service-role/*"))
        | {"Condition": {"StringEquals": {"iam:AWSServiceName": list(SERVICES_WITH_OWN_ROLES)}}},
    )


def _instances_only(account: Account) -> tuple[Statement, ...]:
    """Permissions that instances need and CI doesn't, and AWS services' use of keys on behalf of either."""
    uses = ("CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey*", "ReEncrypt*")
    return (
        # Channels and heartbeats support no ARN.
        allow("SessionManager", ["ssm:UpdateInstanceInformation", "ssmmessages:*"], "*"),
        # Volumes, topics and parameters use AWS managed keys, whose policies admit users of the service.
        # GenerateDataKey* and ReEncrypt* are one use each, in several forms.
        allow("ServiceKeys", [f"kms:{use}" for use in uses], account.anywhere("kms", "key/*"))
        | {"Condition": {"StringLike": {"kms:ViaService": [f"{name}.*.amazonaws.com" for name in KEY_USERS]}}},
    )


def _guard_rails(account: Account, backend: Backend) -> tuple[Statement, ...]:
    """Denials that override other policies: CI can't change its own roles, boundary, key and state."""
    path = account.ci_path
    return (
        _deny(
            "DenyCiRoles",
            # All actions, reads included.
            ["iam:*", "sts:AssumeRole"],
            account.iam(f"policy{path}*"),
            account.iam(f"role{path}*"),
            account.iam(f"oidc-provider/{ISSUER}"),
        ),
        _deny("DenyStateKeyTags", ["kms:TagResource"], backend.key_arn),
        # On every role.
        _deny("DenyBoundaryRemoval", ["iam:DeleteRolePermissionsBoundary"], "*"),
        # This program's own state, in all folders of the backend: stacks, history, backups, locks.
        _deny(
            "DenyOwnState",
            ["s3:DeleteObject", "s3:PutObject"],
            f"{backend.bucket_arn}/.pulumi/*/{OWN_PROJECT}/*",
        ),
    )


def _deny_app_parameters(account: Account) -> Statement:
    """The app's secrets are for its instances only. The * is a stack's name."""
    values = account.anywhere("ssm", f"parameter/{PREFIX}/*/app")
    # Every read action: GetParameter, GetParameters, GetParametersByPath, GetParameterHistory.
    return _deny("DenyAppParameters", ["ssm:GetParameter*"], values, f"{values}/*")


def _deny(sid: str, actions: Sequence[str], *resources: str) -> dict[str, Any]:
    return allow(sid, actions, *resources) | {"Effect": "Deny"}
