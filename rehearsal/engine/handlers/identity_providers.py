"""Whom an account trusts to say who somebody is."""

from __future__ import annotations

from .base import Cloud, Created, Handler, Props, differs, is_gone, picked, tag_changes, tag_list, tag_map, tags_of


class OpenIdConnectProvider(Handler):
    pulumi_type = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    tagged = True
    # moto 5.2.5 has no AddClientIDToOpenIDConnectProvider: another list makes another provider.
    force_new = frozenset({"url", "clientIdLists"})
    # An account has one a URL.
    delete_first = True

    def create(self, cloud: Cloud, new: Props) -> Created:
        names = {"url": "Url", "clientIdLists": "ClientIDList", "thumbprintLists": "ThumbprintList"}
        made = cloud.client("iam").create_open_id_connect_provider(**picked(new, names), Tags=tag_list(tags_of(new)))
        return Created(id=made["OpenIDConnectProviderArn"])

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=id)
        return {"arn": id, "thumbprintLists": found.get("ThumbprintList", [])}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        found = cloud.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=id)
        return {"clientIdLists": found.get("ClientIDList", []), "tagsAll": tag_map(found.get("Tags"))}

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        iam, which = cloud.client("iam"), {"OpenIDConnectProviderArn": id}
        if differs(old, new, "thumbprintLists") and new.get("thumbprintLists"):
            iam.update_open_id_connect_provider_thumbprint(**which, ThumbprintList=new["thumbprintLists"])
        gone, present = tag_changes(old, new)
        if gone:
            iam.untag_open_id_connect_provider(**which, TagKeys=gone)
        if present:
            iam.tag_open_id_connect_provider(**which, Tags=tag_list(present))

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        cloud.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=id)

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        arn = cloud.arn("iam", f"oidc-provider/{str(inputs['url']).removeprefix('https://')}", region="")
        try:
            found = cloud.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        except Exception as error:
            if is_gone(error):
                return []
            raise
        return [arn] if tag_map(found.get("Tags")) == tags_of(inputs) else []
