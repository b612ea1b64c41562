"""The provider's functions (`aws.get_…`) that programs call, answered from the cloud."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Any

from .cloud import Cloud
from .handlers.base import given
from .values import Props

Function = Callable[[Cloud, Props], Props]


def invoke(token: str, cloud: Cloud, args: Props) -> Props:
    try:
        function = _FUNCTIONS[token]
    except KeyError:
        raise ValueError(
            f"The embedded engine does not know the function {token}; add it to rehearsal/engine/invokes.py."
        ) from None
    return args | function(cloud, args)


def _region(cloud: Cloud, args: Props) -> Props:
    name = args.get("region") or args.get("name") or cloud.region
    return {
        "id": name,
        "name": name,
        "region": name,
        "description": name,
        "endpoint": f"ec2.{name}.{cloud.dns_suffix}",
    }


def _caller(cloud: Cloud, args: Props) -> Props:
    found = cloud.client("sts").get_caller_identity()
    account = found["Account"]
    return {"id": account, "accountId": account, "arn": found["Arn"], "userId": found["UserId"]}


def _partition(cloud: Cloud, args: Props) -> Props:
    suffix = cloud.dns_suffix
    reverse = ".".join(reversed(suffix.split(".")))
    return {"id": cloud.partition, "partition": cloud.partition, "dnsSuffix": suffix, "reverseDnsPrefix": reverse}


def _filters(args: Props) -> list[dict[str, Any]] | None:
    found = [{"Name": each["name"], "Values": each["values"]} for each in args.get("filters") or []]
    found += [{"Name": f"tag:{key}", "Values": [value]} for key, value in (args.get("tags") or {}).items()]
    return found or None


def _zones(cloud: Cloud, args: Props) -> Props:
    zones = cloud.client("ec2").describe_availability_zones(
        **given(Filters=_filters(args), AllAvailabilityZones=args.get("allAvailabilityZones"))
    )["AvailabilityZones"]
    kept = [
        zone
        for zone in zones
        if zone["ZoneName"] not in (args.get("excludeNames") or ())
        and zone["ZoneId"] not in (args.get("excludeZoneIds") or ())
        and args.get("state") in (None, zone["State"])
    ]
    return {
        "id": cloud.region,
        "names": sorted(zone["ZoneName"] for zone in kept),
        "zoneIds": [zone["ZoneId"] for zone in sorted(kept, key=lambda zone: str(zone["ZoneName"]))],
        "groupNames": sorted({zone.get("GroupName", cloud.region) for zone in kept}),
    }


def _ami(cloud: Cloud, args: Props) -> Props:
    images = cloud.client("ec2").describe_images(
        **given(Owners=args.get("owners"), ExecutableUsers=args.get("executableUsers"), Filters=_filters(args))
    )["Images"]
    pattern = re.compile(args.get("nameRegex") or "")
    kept = [image for image in images if pattern.search(image.get("Name", ""))]
    if not kept:
        raise ValueError("Your query returned no results. Please change your search criteria and try again.")
    if len(kept) > 1 and not args.get("mostRecent"):
        raise ValueError("Your query returned more than one result; set most_recent or be more specific.")
    image = max(kept, key=lambda each: str(each.get("CreationDate", "")))
    return {
        "id": image["ImageId"],
        "imageId": image["ImageId"],
        "arn": f"arn:{cloud.partition}:ec2:{cloud.region}::image/{image['ImageId']}",
        "name": image.get("Name"),
        "architecture": image.get("Architecture"),
        "creationDate": image.get("CreationDate"),
        "ownerId": image.get("OwnerId"),
        "rootDeviceName": image.get("RootDeviceName"),
        "state": image.get("State"),
        "tags": {tag["Key"]: tag["Value"] for tag in image.get("Tags", [])},
    }


def _balancer_account(cloud: Cloud, args: Props) -> Props:
    # AWS's own accounts that deliver access logs (Elastic Load Balancing user guide); newer regions use a service.
    accounts = {
        "us-east-1": "127311923021", "us-east-2": "033677994240", "us-west-1": "027434742980",
        "us-west-2": "797873946194", "eu-central-1": "054676820928", "eu-north-1": "897822967062",
        "eu-west-1": "156460612806", "eu-west-2": "652711504416", "eu-west-3": "009996457667",
        "ap-northeast-1": "582318560864", "ap-south-1": "718504428378", "ap-southeast-1": "114774131450",
        "ap-southeast-2": "783225319266", "ca-central-1": "985666609251", "sa-east-1": "507241528517",
    }  # fmt: skip
    region = args.get("region") or cloud.region
    if region not in accounts:
        raise ValueError(f"{region}: no account delivers access logs there; use the service principal instead.")
    return {"id": accounts[region], "arn": f"arn:{cloud.partition}:iam::{accounts[region]}:root"}


def _token(cloud: Cloud, args: Props) -> Props:
    import base64

    data = cloud.client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return {
        "id": cloud.region,
        "authorizationToken": data["authorizationToken"],
        "userName": user,
        "password": password,
        "proxyEndpoint": data["proxyEndpoint"],
        "expiresAt": data["expiresAt"].isoformat(),
    }


def _certificate(cloud: Cloud, args: Props) -> Props:
    summaries = cloud.client("acm").list_certificates()["CertificateSummaryList"]
    found = [each for each in summaries if fnmatch.fnmatch(each["DomainName"], args.get("domain") or "*")]
    if not found:
        raise ValueError(f"No certificate for {args.get('domain')!r} in {cloud.region}.")
    return {"id": found[0]["CertificateArn"], "arn": found[0]["CertificateArn"], "domain": found[0]["DomainName"]}


def _parameter(cloud: Cloud, args: Props) -> Props:
    found = cloud.client("ssm").get_parameter(Name=args["name"], WithDecryption=args.get("withDecryption", True))
    each = found["Parameter"]
    return {"id": each["Name"], "arn": each["ARN"], "type": each["Type"], "value": each["Value"]}


def _prefix_list(cloud: Cloud, args: Props) -> Props:
    filters = [{"Name": "prefix-list-name", "Values": [args["name"]]}] if args.get("name") else []
    found = cloud.client("ec2").describe_managed_prefix_lists(Filters=filters)["PrefixLists"]
    if not found:
        raise ValueError(f"No prefix list {args.get('name')!r} in {cloud.region}.")
    each = found[0]
    return {"id": each["PrefixListId"], "arn": each["PrefixListArn"], "name": each["PrefixListName"]}


_FUNCTIONS: dict[str, Function] = {
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getCallerIdentity:getCallerIdentity": _caller,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:ec2/getAmi:getAmi": _ami,
    "aws:ec2/getManagedPrefixList:getManagedPrefixList": _prefix_list,
    "aws:elb/getServiceAccount:getServiceAccount": _balancer_account,
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": _token,
    "aws:acm/getCertificate:getCertificate": _certificate,
    "aws:ssm/getParameter:getParameter": _parameter,
}
