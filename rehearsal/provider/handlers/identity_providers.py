"""IAM's OpenID Connect providers."""

from __future__ import annotations

from .base import Cloud, Created, Handler, Props, differs, rename_keys, tag_changes, tag_list, tag_map, tags_of


class OpenIdConnectProvider(Handler):
    pulumi_type = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    tagged = True
    force_new = frozenset({"url"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        arguments = rename_keys(new, {"url": "Url", "clientIdLists": "ClientIDList"})
        created = cloud.client("iam").create_open_id_connect_provider(**arguments, Tags=tag_list(tags_of(new)))
        return Created(id=created["OpenIDConnectProviderArn"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        cloud.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=id)
        return {"arn": id}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=id)
        return {"clientIdLists": found.get("ClientIDList", []), "tags": tag_map(found.get("Tags"))}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        if differs(old, new, "clientIdLists"):
            # moto 5.2.5 has no AddClientIDToOpenIDConnectProvider: another provider takes the URL, and so the ARN.
            self.delete(cloud, id, old)
            self.create(cloud, new)
            return
        iam, provider = cloud.client("iam"), {"OpenIDConnectProviderArn": id}
        gone, present = tag_changes(old, new)
        if gone:
            iam.untag_open_id_connect_provider(**provider, TagKeys=gone)
        if present:
            iam.tag_open_id_connect_provider(**provider, Tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=id)
