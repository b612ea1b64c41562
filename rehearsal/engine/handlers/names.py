"""Route 53 records."""

from __future__ import annotations

from typing import Any

from .base import Cloud, Created, Handler, Props, first


class Record(Handler):
    pulumi_type = "aws:route53/record:Record"
    force_new = frozenset({"zoneId", "name", "type", "setIdentifier"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        self._change(cloud, "UPSERT" if new.get("allowOverwrite") else "CREATE", new)
        return Created(id=_id(new))

    def find(self, cloud: Cloud, inputs: Props) -> list[str]:
        return [_id(inputs)] if self.stands(cloud, _id(inputs), inputs) else []

    def _change(self, cloud: Cloud, action: str, props: Props) -> None:
        change = {"Action": action, "ResourceRecordSet": _record_set(props, self._whole(cloud, props))}
        cloud.client("route53").change_resource_record_sets(
            HostedZoneId=props["zoneId"], ChangeBatch={"Changes": [change]}
        )

    def _whole(self, cloud: Cloud, props: Props) -> str:
        """A name may be given without its zone."""
        zone = cloud.client("route53").get_hosted_zone(Id=props["zoneId"])["HostedZone"]["Name"].rstrip(".")
        name = str(props["name"]).rstrip(".")
        return name if name == zone or name.endswith(f".{zone}") else f"{name}.{zone}".lstrip(".")

    def read(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        return {"fqdn": self._whole(cloud, inputs)}

    def current(self, cloud: Cloud, id: str, inputs: Props) -> Props | None:
        name = self._whole(cloud, inputs)
        listed = cloud.client("route53").list_resource_record_sets(
            HostedZoneId=inputs["zoneId"], StartRecordName=name, StartRecordType=inputs["type"], MaxItems="1"
        )["ResourceRecordSets"]
        found = first(each for each in listed if each["Name"].rstrip(".") == name and each["Type"] == inputs["type"])
        if found is None:
            return None
        alias = found.get("AliasTarget")
        return {
            "ttl": found.get("TTL"),
            "records": [each["Value"] for each in found.get("ResourceRecords") or []],
            "aliases": [_found_alias(alias)] if alias else [],
        }

    def update(self, cloud: Cloud, id: str, old: Props, new: Props) -> None:
        self._change(cloud, "UPSERT", new)

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        self._change(cloud, "DELETE", state)


def _id(props: Props) -> str:
    return f"{props['zoneId']}_{props['name']}_{props['type']}"


def _found_alias(alias: dict[str, Any]) -> Props:
    return {
        "name": alias["DNSName"].rstrip("."),
        "zoneId": alias["HostedZoneId"],
        "evaluateTargetHealth": alias["EvaluateTargetHealth"],
    }


def _record_set(props: Props, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"Name": name, "Type": props["type"]}
    if aliases := props.get("aliases"):
        found["AliasTarget"] = {
            "DNSName": aliases[0]["name"],
            "HostedZoneId": aliases[0]["zoneId"],
            "EvaluateTargetHealth": bool(aliases[0]["evaluateTargetHealth"]),
        }
        return found
    found["TTL"] = int(props["ttl"])
    found["ResourceRecords"] = [{"Value": value} for value in props["records"]]
    return found
