"""The base image of the releases, copied by digest into the account's registry: builds at boot need no other one."""

from __future__ import annotations

import base64
import json

import pulumi
import pulumi_docker as docker
from pulumi_aws import ecr

from config.context import StackContext

KEPT_UNTAGGED = 5
SHORT_DIGEST = 12  # characters


class BaseImage(pulumi.ComponentResource):
    """`source` is name@sha256:…; its digest is also the copy's tag.

    Outputs: `reference`, the copy by digest, and `repository_arn`.
    """

    reference: pulumi.Output[str]
    repository_arn: pulumi.Output[str]

    def __init__(
        self, name: str, context: StackContext, source: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bluegreen:image:BaseImage", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        repository = _repository(name, context, child)
        digest = source.rpartition("@sha256:")[2]
        # Named for the digest: another image is another resource, which is pushed with a fresh login.
        key = f"{name}-{digest[:SHORT_DIGEST]}"
        pulled = docker.RemoteImage(key, name=source, keep_locally=True, opts=child)
        copy = repository.repository_url.apply(lambda url: f"{url}:{digest}")
        tag = docker.Tag(key, source_image=pulled.image_id, target_image=copy, opts=child)
        pushed = docker.RegistryImage(
            key,
            name=tag.target_image,
            keep_remotely=True,
            auth_config=_login(repository),
            # The login is a new one in each run, and no change.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["authConfig"]),
        )
        # By the digest that the registry computed: a copy of one platform has another one than its index.
        self.reference = pulumi.Output.all(repository.repository_url, pushed.sha256_digest).apply("@".join)
        self.repository_arn = repository.arn
        self.register_outputs({"reference": self.reference, "repository_arn": self.repository_arn})


def _repository(name: str, context: StackContext, opts: pulumi.ResourceOptions) -> ecr.Repository:
    repository = ecr.Repository(
        name,
        name=f"bluegreen/{context.stack}/base",
        # Machines pull by digest, so no tag can mislead them; a push that is repeated after a failure must pass.
        image_tag_mutability="MUTABLE",
        image_scanning_configuration=ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
        # What it holds is a copy, which the next run pushes again.
        force_delete=True,
        tags={"Stack": context.stack},
        opts=opts,
    )
    ecr.LifecyclePolicy(name, repository=repository.name, policy=json.dumps(_lifecycle()), opts=opts)
    return repository


def _lifecycle() -> dict[str, object]:
    selection = {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": KEPT_UNTAGGED}
    rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
    return {"rules": [rule]}


def _login(repository: ecr.Repository) -> pulumi.Output[docker.RegistryImageAuthConfigArgs]:
    """A token of twelve hours, asked for in each run; it is a secret in the state."""
    token = ecr.get_authorization_token_output(registry_id=repository.registry_id)

    def config(values: tuple[str, str]) -> docker.RegistryImageAuthConfigArgs:
        user, _, password = base64.b64decode(values[1]).decode().partition(":")
        return docker.RegistryImageAuthConfigArgs(address=values[0], username=user, password=password)

    return pulumi.Output.secret(
        pulumi.Output.all(token.proxy_endpoint, token.authorization_token).apply(lambda v: config((v[0], v[1])))
    )
