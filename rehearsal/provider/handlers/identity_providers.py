"""IAM OpenID Connect providers."""

from __future__ import annotations

from .base import AwsClients, Created, Handler, Props, differs, rename_keys, tag_changes, tag_list, tag_map, tags_of


class OpenIdConnectProviderHandler(Handler):
    pulumi_type = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    tagged = True
    force_new = frozenset({"url"})

    def create(self, aws: AwsClients, new: Props) -> Created:
        arguments = rename_keys(new, {"url": "Url", "clientIdLists": "ClientIDList"})
        created = aws.client("iam").create_open_id_connect_provider(**arguments, Tags=tag_list(tags_of(new)))
        return Created(id=created["OpenIDConnectProviderArn"])

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        aws.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=id)
        return {"arn": id}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        actual = aws.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=id)
        return {"clientIdLists": actual.get("ClientIDList", []), "tags": tag_map(actual.get("Tags"))}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        if differs(old, new, "clientIdLists"):
            # moto 5.2.5 has no AddClientIDToOpenIDConnectProvider: a new provider with the same URL has the same ARN.
            self.delete(aws, id, old)
            self.create(aws, new)
            return
        iam, provider = aws.client("iam"), {"OpenIDConnectProviderArn": id}
        removed, updated = tag_changes(old, new)
        if removed:
            iam.untag_open_id_connect_provider(**provider, TagKeys=removed)
        if updated:
            iam.tag_open_id_connect_provider(**provider, Tags=tag_list(updated))

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        aws.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=id)
