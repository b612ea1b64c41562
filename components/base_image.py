"""ECR mirror of the releases' base image, by digest: builds at boot need no public registry."""

from __future__ import annotations

import base64
import json

import pulumi
import pulumi_docker as docker
from pulumi_aws import ecr

from config.context import StackContext

MAX_UNTAGGED_IMAGES = 5
SHORT_DIGEST_LENGTH = 12


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
        key = f"{name}-{digest[:SHORT_DIGEST_LENGTH]}"
        pulled = docker.RemoteImage(key, name=source, keep_locally=True, opts=child)
        copy = repository.repository_url.apply(lambda url: f"{url}:{digest}")
        tag = docker.Tag(key, source_image=pulled.image_id, target_image=copy, opts=child)
        pushed = docker.RegistryImage(
            key,
            name=tag.target_image,
            keep_remotely=True,
            auth_config=_login(repository),
            # Each run logs in again; that is no change.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["authConfig"]),
        )
        # The digest that the registry computed: a copy of one platform has a different one than its index.
        self.reference = pulumi.Output.all(repository.repository_url, pushed.sha256_digest).apply("@".join)
        self.repository_arn = repository.arn
        self.register_outputs({"reference": self.reference, "repository_arn": self.repository_arn})


def _repository(name: str, context: StackContext, opts: pulumi.ResourceOptions) -> ecr.Repository:
    repository = ecr.Repository(
        name,
        name=f"bluegreen/{context.stack}/base",
        # Instances pull by digest, whatever the tags; a push that is repeated after a failure must succeed.
        image_tag_mutability="MUTABLE",
        image_scanning_configuration=ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
        # It holds a copy, which the next run pushes again.
        force_delete=True,
        tags={"Stack": context.stack},
        opts=opts,
    )
    ecr.LifecyclePolicy(name, repository=repository.name, policy=json.dumps(_lifecycle()), opts=opts)
    return repository


def _lifecycle() -> dict[str, object]:
    selection = {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": MAX_UNTAGGED_IMAGES}
    rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
    return {"rules": [rule]}


def _login(repository: ecr.Repository) -> pulumi.Output[docker.RegistryImageAuthConfigArgs]:
    """A token valid for twelve hours, requested in each run; a secret in the state."""
    token = ecr.get_authorization_token_output(registry_id=repository.registry_id)

    def config(values: tuple[str, str]) -> docker.RegistryImageAuthConfigArgs:
        user, _, password = base64.b64decode(values[1]).decode().partition(":")
        return docker.RegistryImageAuthConfigArgs(address=values[0], username=user, password=password)

    return pulumi.Output.secret(
        pulumi.Output.all(token.proxy_endpoint, token.authorization_token).apply(lambda v: config((v[0], v[1])))
    )
