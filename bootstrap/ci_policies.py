"""What CI may do in an account, as plain data: pure functions of names and ARNs, which a test compares whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.subjects import AUDIENCE, ISSUER
from components.policy_documents import TOPIC_KEY_ROLE, Document, allow, document

OWN_PROJECT = "bluegreen-bootstrap"  # the name in this program's Pulumi.yaml, under which its state lies
# What the main program names: paths of parameters, log groups, repositories and roles all begin so.
NAMES = "bluegreen"
# Pulumi's names of the main program's, to which it adds a random end.
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
    """Where ARNs point to. `project` begins the names of what this program makes."""

    partition: str
    id: str
    project: str

    @property
    def ci_path(self) -> str:
        """Where the CI roles and their boundary stand, apart from the roles that CI makes."""
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
        # Any region: the state lies in one, stacks may be in others.
        return f"arn:{self.partition}:{service}:*:{self.id}:{resource}"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where the state lies and what encrypts it, as ARNs."""

    bucket_arn: str
    key_arn: str


def trust(provider_arn: str, subjects: Sequence[str]) -> Document:
    """Who may take a role: jobs that GitHub names so, in tokens made for AWS. Whole names only, no patterns."""
    asked = {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": list(subjects)}
    return document(
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": provider_arn},
            "Condition": {"StringEquals": asked},
        }
    )


def key_policy(account: Account) -> Document:
    """IAM policies of the account decide on the key; without this nobody could, not even an administrator."""
    # In a key's own policy * is that key.
    return document(allow("AccountDecides", ["kms:*"], "*") | {"Principal": {"AWS": account.iam("root")}})


def preview(account: Account, backend: Backend) -> Document:
    """What `pulumi preview --refresh` asks: the state, and how things are. Neither objects nor the app's values."""
    return document(*_state_reading(backend), *_reading(account), _no_app_values(account))


def deploy(account: Account, backend: Backend) -> Document:
    """What `pulumi up`, the scripts and a build of the machine image ask. The boundary holds besides."""
    return document(
        *_state_reading(backend),
        *_state_writing(backend),
        *_reading(account),
        *_making(account),
        *_roles(account),
        _no_app_values(account),
    )


def boundary(account: Account, backend: Backend) -> Document:
    """The most that the deploying role may do, and every role that it makes: none of them can do more than itself."""
    return document(
        *_state_reading(backend),
        *_state_writing(backend),
        *_reading_besides_making(account),
        *_making(account),
        *_roles(account),
        *_machines_own(account),
        *_guard_rails(account, backend),
    )


def _state_reading(backend: Backend) -> tuple[Statement, ...]:
    return (
        allow("FindState", ["s3:GetBucketLocation", "s3:ListBucket"], backend.bucket_arn),
        # All of the bucket's objects: it holds nothing but state.
        allow("ReadState", ["s3:GetObject"], f"{backend.bucket_arn}/*"),
        allow("OpenSecrets", ["kms:Decrypt", "kms:DescribeKey"], backend.key_arn),
    )


def _state_writing(backend: Backend) -> tuple[Statement, ...]:
    return (
        # Without DeleteObjectVersion: what was overwritten or deleted can be had back.
        allow("WriteState", ["s3:DeleteObject", "s3:PutObject"], f"{backend.bucket_arn}/*"),
        allow("CloseSecrets", ["kms:Encrypt", "kms:GenerateDataKey"], backend.key_arn),
    )


def _reading(account: Account) -> tuple[Statement, ...]:
    """How things are. Each * at an ARN's end stands for stacks and their things, or for the end that Pulumi adds."""
    return (
        # Lists and descriptions mostly know no ARN, and tell of things, not of what is in them.
        allow("LookAround", [*_MACHINE_LOOKS, *_LOOKS], "*"),
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
        # List* are a rule's targets and tags.
        allow("ReadRules", ["events:DescribeRule", "events:List*"], _rules(account)),
        allow("ReadImages", [f"ecr:{action}" for action in _IMAGE_READS], _images(account)),
        allow(
            "ReadParameters",
            ["ssm:GetParameter", "ssm:GetParameters", "ssm:ListTagsForResource"],
            account.anywhere("ssm", f"parameter/{NAMES}/*"),
        ),
        _role_reading(account),
    )


def _reading_besides_making(account: Account) -> tuple[Statement, ...]:
    """What making does not hold already, of the same services and things: IAM has room for 6144 characters."""
    # As in all that is read: lists and descriptions.
    return (allow("LookAround", _LOOKS, "*"), _role_reading(account))


def _role_reading(account: Account) -> Statement:
    roles = (account.iam(f"role/{NAMES}/*"), account.iam(f"instance-profile/{NAMES}/*"))
    return allow("ReadRoles", [f"iam:{action}" for action in _ROLE_READS], *roles)


# Each * at an end stands for the kinds of things that a service describes.
_MACHINE_LOOKS = (
    "autoscaling:Describe*", "cloudwatch:Describe*", "cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource",
    "ec2:Describe*", "ec2:GetManagedPrefixListEntries", "elasticloadbalancing:Describe*",
)  # fmt: skip
_LOOKS = (
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


def _making(account: Account) -> tuple[Statement, ...]:
    """The main program's services, each held to the names that the program gives, where AWS lets it."""
    return (
        # Networks, machines, balancers and their alarms have ids that AWS makes up, and much of it takes no tag.
        # So have the deliveries that a VPN tunnel's log is, let into its group by a policy of the account.
        allow("Machines", _MACHINES, "*"),
        # An action fits the things of its own service only: one statement says what six would, in less room.
        allow("Named", _NAMED, *_named(account)),
        *_topic_keys(account),
        # AWS makes a VPN's keys under this name, on behalf of whoever makes the VPN: made, never read.
        allow("VpnKeys", [f"secretsmanager:{action}" for action in _KEY_WRITES], _tunnel_keys(account)),
        # Which zone is the stack's decision; zones themselves are made by somebody else.
        allow("Names", ["route53:ChangeResourceRecordSets"], f"arn:{account.partition}:route53:::hostedzone/*"),
    )


# All that these services do; of the logs, *LogDeliver* is the deliveries alone.
_MACHINES = (
    "autoscaling:*", "cloudwatch:*", "ec2:*", "elasticloadbalancing:*", "logs:*LogDeliver*", "logs:PutResourcePolicy",
)  # fmt: skip
# All that these services do, with what bears the program's names.
_NAMED = ("ecr:*", "events:*", "firehose:*", "logs:*", "s3:*", "sns:*", "ssm:*")
# *Secret is Create, Delete, Describe and Update: no read of a value ends so. Tag* is TagResource.
_KEY_WRITES = ("*Secret", "PutSecretValue", "Tag*")


def _named(account: Account) -> tuple[str, ...]:
    """The end is a stack's name and what it has, or the one that Pulumi adds; a bucket's covers its objects too."""
    return (
        _images(account),
        _rules(account),
        _streams(account),
        account.anywhere("logs", f"log-group:/{NAMES}/*"),
        *_buckets(account),
        account.anywhere("sns", f"{TOPICS}-*"),
        account.anywhere("ssm", f"parameter/{NAMES}/*"),
    )


def _topic_keys(account: Account) -> tuple[Statement, ...]:
    """A key's id is made up by AWS: its tag tells that it is a topic's, from its making on."""
    keys = account.anywhere("kms", "key/*")
    return (
        # A key that is being made has no ARN yet. TagResource could also claim a key: a guard rail keeps the state's.
        allow("NewKeys", ["kms:CreateKey", "kms:TagResource"], "*")
        | {"Condition": {"StringEquals": {"aws:RequestTag/Role": TOPIC_KEY_ROLE}}},
        # *KeyRotation is Enable and Disable.
        allow("KeepKeys", [f"kms:{action}" for action in _TOPIC_KEY_WRITES], keys)
        | {"Condition": {"StringEquals": {"aws:ResourceTag/Role": TOPIC_KEY_ROLE}}},
    )


_TOPIC_KEY_WRITES = (
    "*KeyRotation", "PutKeyPolicy", "ScheduleKeyDeletion", "UntagResource", "UpdateKeyDescription",
    # Whoever publishes to a topic that the key encrypts, as the scripts do.
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
    return account.anywhere("ecr", f"repository/{NAMES}/*")


def _roles(account: Account) -> tuple[Statement, ...]:
    """Roles of the main program's path only, made under the boundary only: nobody outgrows itself by making one."""
    made, profiles = account.iam(f"role/{NAMES}/*"), account.iam(f"instance-profile/{NAMES}/*")
    writes = ("AttachRolePolicy", "CreateRole", "DeleteRolePolicy", "DetachRolePolicy", "PutRolePermissionsBoundary")
    keeps = ("DeleteRole", "TagRole", "UntagRole", "UpdateAssumeRolePolicy", "UpdateRole", "UpdateRoleDescription")
    profile_writes = (
        "AddRoleToInstanceProfile", "CreateInstanceProfile", "DeleteInstanceProfile", "RemoveRoleFromInstanceProfile",
        "TagInstanceProfile", "UntagInstanceProfile",
    )  # fmt: skip
    return (
        allow("MakeBoundedRoles", [f"iam:{action}" for action in (*writes, "PutRolePolicy")], made)
        | {"Condition": {"StringEquals": {"iam:PermissionsBoundary": account.boundary_arn}}},
        # These know no boundary. A role on this path has it, or only the rights that a person's own `pulumi up` gave.
        allow("KeepRoles", [f"iam:{action}" for action in keeps], made),
        allow("KeepProfiles", [f"iam:{action}" for action in profile_writes], profiles),
        allow("HandRolesOver", ["iam:PassRole"], made)
        | {"Condition": {"StringEquals": {"iam:PassedToService": list(SERVICES_WITH_ROLES)}}},
        # Made by the first group, balancer, VPN and transit gateway of an account; AWS alone says what they may.
        allow("ServicesOwnRoles", ["iam:CreateServiceLinkedRole"], account.iam("role/aws-service-role/*"))
        | {"Condition": {"StringEquals": {"iam:AWSServiceName": list(SERVICES_WITH_OWN_ROLES)}}},
    )


def _machines_own(account: Account) -> tuple[Statement, ...]:
    """What machines need and CI doesn't, and what AWS's services do with keys on behalf of either."""
    uses = ("CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey*", "ReEncrypt*")
    return (
        # Channels and heartbeats know no ARN.
        allow("SessionManager", ["ssm:UpdateInstanceInformation", "ssmmessages:*"], "*"),
        # Volumes, topics and parameters take AWS's own keys, whose policies let in who may use the service.
        # GenerateDataKey* and ReEncrypt* are one use each, in several forms.
        allow("KeysOfServices", [f"kms:{use}" for use in uses], account.anywhere("kms", "key/*"))
        | {"Condition": {"StringLike": {"kms:ViaService": [f"{name}.*.amazonaws.com" for name in KEY_USERS]}}},
    )


def _guard_rails(account: Account, backend: Backend) -> tuple[Statement, ...]:
    """Denials that no other policy can lift: CI doesn't touch what CI is bound by."""
    path = account.ci_path
    return (
        _deny(
            "LeaveGuardsAlone",
            # Whatever there is to do with them, reading too.
            ["iam:*", "sts:AssumeRole"],
            account.iam(f"policy{path}*"),
            account.iam(f"role{path}*"),
            account.iam(f"oidc-provider/{ISSUER}"),
        ),
        _deny("LeaveStateKeyAlone", ["kms:TagResource"], backend.key_arn),
        # By whichever role, and whatever else a policy says.
        _deny("StayBounded", ["iam:DeleteRolePermissionsBoundary"], "*"),
        # This program's own state, in all of the folders that Pulumi keeps: stacks, history, backups, locks.
        _deny(
            "LeaveOwnStateAlone",
            ["s3:DeleteObject", "s3:PutObject"],
            f"{backend.bucket_arn}/.pulumi/*/{OWN_PROJECT}/*",
        ),
    )


def _no_app_values(account: Account) -> Statement:
    """The app's secrets are for its machines. The * is a stack's name."""
    values = account.anywhere("ssm", f"parameter/{NAMES}/*/app")
    # Also all below it, and in every way: GetParameter, GetParameters, GetParametersByPath, GetParameterHistory.
    return _deny("LeaveAppValuesAlone", ["ssm:GetParameter*"], values, f"{values}/*")


def _deny(sid: str, actions: Sequence[str], *resources: str) -> dict[str, Any]:
    return allow(sid, actions, *resources) | {"Effect": "Deny"}
