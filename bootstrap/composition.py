"""What each component gets from the settings and from the others; `__main__.py` puts them in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws

from bootstrap import ci_policies, subjects
from bootstrap.boundary import Boundary, BoundaryArgs
from bootstrap.ci_policies import Account, Backend
from bootstrap.ci_role import CiRole, CiRoleArgs
from bootstrap.github_identity import GithubIdentity, GithubIdentityArgs
from bootstrap.settings import Settings
from bootstrap.spending_alert import SpendingAlert, SpendingAlertArgs
from bootstrap.state_bucket import StateBucket, StateBucketArgs
from bootstrap.state_key import StateKey, StateKeyArgs
from components.policy_documents import Document


def account(settings: Settings) -> Account:
    return Account(
        partition=aws.get_partition().partition, id=aws.get_caller_identity().account_id, project=settings.project
    )


def state_key(settings: Settings, account: Account) -> StateKeyArgs:
    return StateKeyArgs(stack=settings.stack, account=account, protect=settings.protect)


def state_bucket(settings: Settings, key: StateKey) -> StateBucketArgs:
    return StateBucketArgs(stack=settings.stack, project=settings.project, key_arn=key.arn, protect=settings.protect)


def backend(key: StateKey, bucket: StateBucket) -> pulumi.Output[Backend]:
    return pulumi.Output.all(bucket.arn, key.arn).apply(lambda arns: Backend(bucket_arn=arns[0], key_arn=arns[1]))


def github(settings: Settings) -> GithubIdentityArgs:
    return GithubIdentityArgs(stack=settings.stack, existing_arn=settings.oidc_provider_arn, protect=settings.protect)


def boundary(settings: Settings, account: Account, backend: pulumi.Output[Backend]) -> BoundaryArgs:
    return BoundaryArgs(stack=settings.stack, account=account, backend=backend)


def preview_role(
    settings: Settings, account: Account, backend: pulumi.Output[Backend], github: GithubIdentity
) -> CiRoleArgs:
    return CiRoleArgs(
        stack=settings.stack,
        account=account,
        job="preview",
        provider_arn=github.arn,
        subjects=subjects.of_previews(settings.repository, settings.branch),
        policy=_policy(account, backend, ci_policies.preview),
    )


def deploy_role(
    settings: Settings,
    account: Account,
    backend: pulumi.Output[Backend],
    github: GithubIdentity,
    boundary: Boundary,
) -> CiRoleArgs:
    return CiRoleArgs(
        stack=settings.stack,
        account=account,
        job="deploy",
        provider_arn=github.arn,
        subjects=subjects.of_deploys(settings.repository, settings.environments),
        policy=_policy(account, backend, ci_policies.deploy),
        boundary_arn=boundary.arn,
    )


def _policy(
    account: Account, backend: pulumi.Output[Backend], make: Callable[[Account, Backend], Document]
) -> pulumi.Output[Document]:
    return backend.apply(lambda known: make(account, known))


def spending_alert(settings: Settings) -> SpendingAlert | None:
    if not settings.budget_limit:
        return None
    args = SpendingAlertArgs(
        stack=settings.stack, project=settings.project, limit=settings.budget_limit, emails=settings.alert_emails
    )
    return SpendingAlert("spending", args)


def outputs(
    settings: Settings, key: StateKey, bucket: StateBucket, boundary: Boundary, preview: CiRole, deploy: CiRole
) -> dict[str, Any]:
    """What the main program's stacks and the workflows of its repository are told."""
    region = settings.region
    return {
        "region": region,
        "backendUrl": bucket.bucket.apply(lambda name: f"s3://{name}?region={region}&awssdk=v2"),
        "secretsProvider": key.arn.apply(lambda arn: f"awskms:///{arn}?region={region}"),
        "previewRoleArn": preview.arn,
        "deployRoleArn": deploy.arn,
        "permissionsBoundaryArn": boundary.arn,
    }
