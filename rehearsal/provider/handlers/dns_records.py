"""Route 53 records."""

from __future__ import annotations

from typing import Any

from .base import AwsClients, Created, Handler, Props, first


class DnsRecordHandler(Handler):
    pulumi_type = "aws:route53/record:Record"
    force_new = frozenset({"zoneId", "name"})

    def check(self, inputs: Props) -> None:
        if not inputs.get("aliases"):
            raise ValueError(
                f"record {inputs['name']}: aliases is required: the rehearsal's provider supports no other records"
            )

    def create(self, aws: AwsClients, new: Props) -> Created:
        self._change(aws, "CREATE", new)
        return Created(id=_id(new))

    def _change(self, aws: AwsClients, action: str, props: Props) -> None:
        change = {"Action": action, "ResourceRecordSet": _record_set(props, self._full_name(aws, props))}
        aws.client("route53").change_resource_record_sets(
            HostedZoneId=props["zoneId"], ChangeBatch={"Changes": [change]}
        )

    def _full_name(self, aws: AwsClients, props: Props) -> str:
        """The record's name with its hosted zone, which a program may leave out."""
        zone = aws.client("route53").get_hosted_zone(Id=props["zoneId"])["HostedZone"]["Name"].rstrip(".")
        name = str(props["name"]).rstrip(".")
        return name if name == zone or name.endswith(f".{zone}") else f"{name}.{zone}".lstrip(".")

    def read(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        return {"fqdn": self._full_name(aws, inputs)}

    def current(self, aws: AwsClients, id: str, inputs: Props) -> Props | None:
        name = self._full_name(aws, inputs)
        listed = aws.client("route53").list_resource_record_sets(
            HostedZoneId=inputs["zoneId"], StartRecordName=name, StartRecordType=inputs["type"], MaxItems="1"
        )["ResourceRecordSets"]
        actual = first(
            record for record in listed if record["Name"].rstrip(".") == name and record["Type"] == inputs["type"]
        )
        if actual is None:
            return None
        alias = actual.get("AliasTarget")
        return {"aliases": [_current_alias(alias)] if alias else []}

    def update(self, aws: AwsClients, id: str, old: Props, new: Props) -> None:
        if old["type"] != new["type"]:
            self._change(aws, "DELETE", old)
        self._change(aws, "UPSERT", new)

    def delete(self, aws: AwsClients, id: str, state: Props) -> None:
        self._change(aws, "DELETE", state)


def _id(props: Props) -> str:
    return f"{props['zoneId']}_{props['name']}_{props['type']}"


def _current_alias(alias: dict[str, Any]) -> Props:
    return {
        "name": alias["DNSName"].rstrip("."),
        "zoneId": alias["HostedZoneId"],
        "evaluateTargetHealth": alias["EvaluateTargetHealth"],
    }


def _record_set(props: Props, name: str) -> dict[str, Any]:
    (alias,) = props["aliases"]
    target = {
        "DNSName": alias["name"],
        "HostedZoneId": alias["zoneId"],
        "EvaluateTargetHealth": alias["evaluateTargetHealth"],
    }
    return {"Name": name, "Type": props["type"], "AliasTarget": target}
