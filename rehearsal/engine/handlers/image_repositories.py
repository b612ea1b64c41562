"""ECR repositories and their lifecycle policies."""

from __future__ import annotations

from typing import Any

from .base import Cloud, Created, Handler, Naming, Props, differs, looked_up, tag_changes, tag_list, tag_map, tags_of


class Repository(Handler):
    pulumi_type = "aws:ecr/repository:Repository"
    naming = Naming(prefix_key="", limit=256, lower=True)
    tagged = True
    force_new = frozenset({"name", "encryptionConfigurations"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        cloud.client("ecr").create_repository(
            repositoryName=new["name"],
            imageTagMutability=new.get("imageTagMutability") or "MUTABLE",
            imageScanningConfiguration=self._scanning(new),
            encryptionConfiguration=self._encryption(new),
            tags=tag_list(tags_of(new)),
        )
        return Created(id=new["name"])

    def _scanning(self, new: Props) -> dict[str, bool]:
        return {"scanOnPush": bool((new.get("imageScanningConfiguration") or {}).get("scanOnPush"))}

    def _encryption(self, new: Props) -> dict[str, Any]:
        chosen = (new.get("encryptionConfigurations") or [{}])[0]
        key = {"kmsKey": chosen["kmsKey"]} if chosen.get("kmsKey") else {}
        return {"encryptionType": chosen.get("encryptionType") or "AES256", **key}

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = looked_up(cloud.client("ecr").describe_repositories, "repositories", repositoryNames=[id])
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
            "encryptionConfigurations": [found.get("encryptionConfiguration") or {}],
            "tagsAll": tag_map(ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]),
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

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        ecr = cloud.client("ecr")
        found = looked_up(ecr.describe_repositories, "repositories", repositoryNames=[inputs["name"]])
        if found is None:
            return []
        tags = ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
        return [inputs["name"]] if tag_map(tags) == tags_of(inputs) else []


class LifecyclePolicy(Handler):
    pulumi_type = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
    force_new = frozenset({"repository"})
    delete_first = True

    def create(self, cloud: Cloud, new: Props) -> Created:
        made = self._put(cloud, new)
        return Created(id=new["repository"], outputs={"registryId": made["registryId"]})

    def _put(self, cloud: Cloud, new: Props) -> dict[str, Any]:
        answer: dict[str, Any] = cloud.client("ecr").put_lifecycle_policy(
            repositoryName=new["repository"], lifecyclePolicyText=new["policy"]
        )
        return answer

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("ecr").get_lifecycle_policy(repositoryName=inputs["repository"])
        return {"policy": found["lifecyclePolicyText"]}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._put(cloud, new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("ecr").delete_lifecycle_policy(repositoryName=state["repository"])
