"""ECR repositories and their lifecycle policies."""

from __future__ import annotations

from .base import (
    AwsClients,
    Created,
    Handler,
    Naming,
    Props,
    describe_one,
    differs,
    rename_keys,
    tag_changes,
    tag_list,
    tag_map,
    tags_of,
)


class ImageRepositoryHandler(Handler):
    pulumi_type = "aws:ecr/repository:Repository"
    naming = Naming(prefix_key="", max_length=256, lower=True)
    tagged = True
    force_new = frozenset({"name"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        aws.client("ecr").create_repository(
            repositoryName=new["name"],
            imageTagMutability=new.get("imageTagMutability") or "MUTABLE",
            imageScanningConfiguration=self._scanning(new),
            tags=tag_list(tags_of(new)),
        )
        return Created(id=new["name"])

    def _scanning(self, new: Props) -> dict[str, bool]:
        return {"scanOnPush": bool((new.get("imageScanningConfiguration") or {}).get("scanOnPush"))}

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = describe_one(aws.client("ecr").describe_repositories, "repositories", repositoryNames=[id])
        if actual is None:
            return None
        return {
            "arn": actual["repositoryArn"],
            "repositoryUrl": actual["repositoryUri"],
            "registryId": actual["registryId"],
        }

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        ecr = aws.client("ecr")
        actual = ecr.describe_repositories(repositoryNames=[id])["repositories"][0]
        return {
            "imageTagMutability": actual.get("imageTagMutability"),
            "imageScanningConfiguration": actual.get("imageScanningConfiguration"),
            "tags": tag_map(ecr.list_tags_for_resource(resourceArn=actual["repositoryArn"])["tags"]),
        }

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        ecr = aws.client("ecr")
        if differs(old, new, "imageTagMutability"):
            mutability = new.get("imageTagMutability") or "MUTABLE"
            ecr.put_image_tag_mutability(repositoryName=id, imageTagMutability=mutability)
        if differs(old, new, "imageScanningConfiguration"):
            ecr.put_image_scanning_configuration(repositoryName=id, imageScanningConfiguration=self._scanning(new))
        removed, updated = tag_changes(old, new)
        arn = old.get("arn") or aws.arn("ecr", f"repository/{id}")
        if removed:
            ecr.untag_resource(resourceArn=arn, tagKeys=removed)
        if updated:
            ecr.tag_resource(resourceArn=arn, tags=tag_list(updated))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ecr").delete_repository(repositoryName=id, force=bool(state.get("forceDelete")))


class LifecyclePolicyHandler(Handler):
    pulumi_type = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
    force_new = frozenset({"repository", "policy"})
    delete_before_replace = True  # a repository has only one

    def create(self, aws: AwsClients, new: Props) -> Created:
        names = {"repository": "repositoryName", "policy": "lifecyclePolicyText"}
        aws.client("ecr").put_lifecycle_policy(**rename_keys(new, names))
        return Created(id=new["repository"])

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = aws.client("ecr").get_lifecycle_policy(repositoryName=inputs["repository"])
        return {"policy": actual["lifecyclePolicyText"]}

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("ecr").delete_lifecycle_policy(repositoryName=state["repository"])
