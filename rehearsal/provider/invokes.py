"""Provider functions (`aws.get_…`) that the programs call."""

from __future__ import annotations

from collections.abc import Callable

from .cloud import Cloud
from .values import Props

Function = Callable[[Cloud, Props], Props]


def invoke(token: str, cloud: Cloud, args: Props) -> Props:
    try:
        function, supported = _FUNCTIONS[token]
    except KeyError:
        raise ValueError(
            f"{token}: the rehearsal's provider has no such function; add it to rehearsal/provider/invokes.py"
        ) from None
    if others := sorted(args.keys() - supported):
        raise ValueError(f"{token}: arguments that the rehearsal's provider does not support: {', '.join(others)}")
    return args | function(cloud, args)


def _caller(cloud: Cloud, args: Props) -> Props:
    found = cloud.client("sts").get_caller_identity()
    return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}


def _partition(cloud: Cloud, args: Props) -> Props:
    return {"id": cloud.partition, "partition": cloud.partition}


def _zones(cloud: Cloud, args: Props) -> Props:
    filters = [{"Name": each["name"], "Values": each["values"]} for each in args.get("filters") or []]
    zones = cloud.client("ec2").describe_availability_zones(Filters=filters)["AvailabilityZones"]
    kept = [zone for zone in zones if args.get("state") in (None, zone["State"])]
    kept.sort(key=lambda zone: str(zone["ZoneName"]))
    return {
        "id": cloud.region,
        "names": [zone["ZoneName"] for zone in kept],
        "zoneIds": [zone["ZoneId"] for zone in kept],
    }


def _token(cloud: Cloud, args: Props) -> Props:
    data = cloud.client("ecr").get_authorization_token()["authorizationData"][0]
    return {
        "id": cloud.region,
        "authorizationToken": data["authorizationToken"],
        "proxyEndpoint": data["proxyEndpoint"],
    }


_FUNCTIONS: dict[str, tuple[Function, frozenset[str]]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": (_caller, frozenset()),
    "aws:index/getPartition:getPartition": (_partition, frozenset()),
    "aws:index/getAvailabilityZones:getAvailabilityZones": (_zones, frozenset({"state", "filters"})),
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": (_token, frozenset({"registryId"})),
}
