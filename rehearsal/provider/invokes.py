"""Provider functions (`aws.get_…`) that this project's programs call."""

from __future__ import annotations

from collections.abc import Callable

from .aws_clients import AwsClients
from .values import Props

Function = Callable[[AwsClients, Props], Props]


def invoke(token: str, aws: AwsClients, args: Props) -> Props:
    try:
        function, supported = _FUNCTIONS[token]
    except KeyError:
        raise ValueError(
            f"{token}: the rehearsal's provider has no such function; add it to rehearsal/provider/invokes.py"
        ) from None
    if others := sorted(args.keys() - supported):
        raise ValueError(f"{token}: arguments are not supported by the rehearsal's provider: {', '.join(others)}")
    return args | function(aws, args)


def _caller(aws: AwsClients, args: Props) -> Props:
    identity = aws.client("sts").get_caller_identity()
    return {
        "id": identity["Account"],
        "accountId": identity["Account"],
        "arn": identity["Arn"],
        "userId": identity["UserId"],
    }


def _partition(aws: AwsClients, args: Props) -> Props:
    return {"id": aws.partition, "partition": aws.partition}


def _zones(aws: AwsClients, args: Props) -> Props:
    filters = [{"Name": filter_["name"], "Values": filter_["values"]} for filter_ in args.get("filters") or []]
    zones = aws.client("ec2").describe_availability_zones(Filters=filters)["AvailabilityZones"]
    selected = [zone for zone in zones if args.get("state") in (None, zone["State"])]
    selected.sort(key=lambda zone: str(zone["ZoneName"]))
    return {
        "id": aws.region,
        "names": [zone["ZoneName"] for zone in selected],
        "zoneIds": [zone["ZoneId"] for zone in selected],
    }


def _token(aws: AwsClients, args: Props) -> Props:
    data = aws.client("ecr").get_authorization_token()["authorizationData"][0]
    return {
        "id": aws.region,
        "authorizationToken": data["authorizationToken"],
        "proxyEndpoint": data["proxyEndpoint"],
    }


_FUNCTIONS: dict[str, tuple[Function, frozenset[str]]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": (_caller, frozenset()),
    "aws:index/getPartition:getPartition": (_partition, frozenset()),
    "aws:index/getAvailabilityZones:getAvailabilityZones": (_zones, frozenset({"state", "filters"})),
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": (_token, frozenset({"registryId"})),
}
