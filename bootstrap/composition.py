"""Arguments of the components, from the settings and other components; `__main__.py` creates them in order."""

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
from bootstrap.settings import AccountSettings
from bootstrap.spending_alert import SpendingAlert, SpendingAlertArgs
from bootstrap.state_bucket import StateBucket, StateBucketArgs
from bootstrap.state_key import StateKey, StateKeyArgs
from components.policy_documents import Document


def account(settings: AccountSettings) -> Account:
    return Account(
        partition=aws.get_partition().partition, id=aws.get_caller_identity().account_id, project=settings.project
    )


def state_key(settings: AccountSettings, account: Account) -> StateKeyArgs:
    return StateKeyArgs(stack=settings.stack, account=account, protect=settings.protect)


def state_bucket(settings: AccountSettings, key: StateKey) -> StateBucketArgs:
    return StateBucketArgs(stack=settings.stack, project=settings.project, key_arn=key.arn, protect=settings.protect)


def backend(key: StateKey, bucket: StateBucket) -> pulumi.Output[Backend]:
    return pulumi.Output.all(bucket.arn, key.arn).apply(lambda arns: Backend(bucket_arn=arns[0], key_arn=arns[1]))


def github(settings: AccountSettings) -> GithubIdentityArgs:
    return GithubIdentityArgs(stack=settings.stack, existing_arn=settings.oidc_provider_arn, protect=settings.protect)


def boundary(settings: AccountSettings, account: Account, backend: pulumi.Output[Backend]) -> BoundaryArgs:
    return BoundaryArgs(stack=settings.stack, account=account, backend=backend)


def preview_role(
    settings: AccountSettings, account: Account, backend: pulumi.Output[Backend], github: GithubIdentity
) -> CiRoleArgs:
    return CiRoleArgs(
        stack=settings.stack,
        account=account,
        job="preview",
        provider_arn=github.arn,
        subjects=subjects.preview_subjects(settings.repository, settings.branch),
        policy=_policy(account, backend, ci_policies.preview),
    )


def deploy_role(
    settings: AccountSettings,
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
        subjects=subjects.deploy_subjects(settings.repository, settings.environments),
        policy=_policy(account, backend, ci_policies.deploy),
        boundary_arn=boundary.arn,
    )


def _policy(
    account: Account, backend: pulumi.Output[Backend], make: Callable[[Account, Backend], Document]
) -> pulumi.Output[Document]:
    return backend.apply(lambda known: make(account, known))


def spending_alert(settings: AccountSettings) -> SpendingAlert | None:
    if not settings.budget_limit:
        return None
    args = SpendingAlertArgs(
        stack=settings.stack, project=settings.project, limit=settings.budget_limit, emails=settings.alert_emails
    )
    return SpendingAlert("spending", args)


def outputs(
    settings: AccountSettings, key: StateKey, bucket: StateBucket, boundary: Boundary, preview: CiRole, deploy: CiRole
) -> dict[str, Any]:
    """Stack outputs, for the config of the main program's stacks and for the repository's workflows."""
    region = settings.region
    return {
        "region": region,
        "backendUrl": bucket.bucket.apply(lambda name: f"s3://{name}?region={region}&awssdk=v2"),
        "secretsProvider": key.arn.apply(lambda arn: f"awskms:///{arn}?region={region}"),
        "previewRoleArn": preview.arn,
        "deployRoleArn": deploy.arn,
        "permissionsBoundaryArn": boundary.arn,
    }
