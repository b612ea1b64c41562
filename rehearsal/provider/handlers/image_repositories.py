"""ECR repositories and their lifecycle policies."""

from __future__ import annotations

from .base import (
    Cloud,
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


class Repository(Handler):
    pulumi_type = "aws:ecr/repository:Repository"
    naming = Naming(prefix_key="", limit=256, lower=True)
    tagged = True
    force_new = frozenset({"name"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("ecr").create_repository(
            repositoryName=new["name"],
            imageTagMutability=new.get("imageTagMutability") or "MUTABLE",
            imageScanningConfiguration=self._scanning(new),
            tags=tag_list(tags_of(new)),
        )
        return Created(id=new["name"])

    def _scanning(self, new: Props) -> dict[str, bool]:
        return {"scanOnPush": bool((new.get("imageScanningConfiguration") or {}).get("scanOnPush"))}

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = describe_one(cloud.client("ecr").describe_repositories, "repositories", repositoryNames=[id])
        if found is None:
            return None
        return {
            "arn": found["repositoryArn"],
            "repositoryUrl": found["repositoryUri"],
            "registryId": found["registryId"],
        }

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        ecr = cloud.client("ecr")
        found = ecr.describe_repositories(repositoryNames=[id])["repositories"][0]
        return {
            "imageTagMutability": found.get("imageTagMutability"),
            "imageScanningConfiguration": found.get("imageScanningConfiguration"),
            "tags": tag_map(ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]),
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        ecr = cloud.client("ecr")
        if differs(old, new, "imageTagMutability"):
            mutability = new.get("imageTagMutability") or "MUTABLE"
            ecr.put_image_tag_mutability(repositoryName=id, imageTagMutability=mutability)
        if differs(old, new, "imageScanningConfiguration"):
            ecr.put_image_scanning_configuration(repositoryName=id, imageScanningConfiguration=self._scanning(new))
        gone, present = tag_changes(old, new)
        arn = old.get("arn") or cloud.arn("ecr", f"repository/{id}")
        if gone:
            ecr.untag_resource(resourceArn=arn, tagKeys=gone)
        if present:
            ecr.tag_resource(resourceArn=arn, tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ecr").delete_repository(repositoryName=id, force=bool(state.get("forceDelete")))


class LifecyclePolicy(Handler):
    pulumi_type = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
    force_new = frozenset({"repository", "policy"})
    delete_first = True  # a repository has one

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {"repository": "repositoryName", "policy": "lifecyclePolicyText"}
        cloud.client("ecr").put_lifecycle_policy(**rename_keys(new, names))
        return Created(id=new["repository"])

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("ecr").get_lifecycle_policy(repositoryName=inputs["repository"])
        return {"policy": found["lifecyclePolicyText"]}

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ecr").delete_lifecycle_policy(repositoryName=state["repository"])
