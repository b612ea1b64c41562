"""Instance metadata service: session tokens, and metadata by the caller's address."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.rehearsal.cloud.fleet import REGION, USER_DATA, Fleet, Maker

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"


class FromAddress(HTTPAdapter):
    """Connects from a loopback address of this host, as the fleet's network has."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, source_address=(self.address, 0))


class Inside:
    """Requests of a program on the instance."""

    def __init__(self, fleet: Fleet, instance: str) -> None:
        ec2 = fleet.cloud.client("ec2").describe_instances(InstanceIds=[instance])
        self.address = ec2["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
        self._url = f"{fleet.cloud.metadata}/latest"
        self._session = requests.Session()
        self._session.mount("http://", FromAddress(self.address))

    def token(self, **headers: str) -> requests.Response:
        return self._session.put(f"{self._url}/api/token", headers={TTL: "60"} | headers, timeout=5)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        sent = {TOKEN: self.token().text} if headers is None else headers
        return self._session.get(f"{self._url}/{path}", headers=sent, timeout=5)


@pytest.fixture
def fleet(make_fleet: Maker) -> Fleet:
    return make_fleet()


@pytest.fixture
def inside(fleet: Fleet) -> Inside:
    return Inside(fleet, fleet.member())


def test_metadata_needs_a_token(inside: Inside) -> None:
    assert inside.get("meta-data/instance-id", headers={}).status_code == 401
    assert inside.get("user-data", headers={TOKEN: "made up"}).status_code == 401


def test_a_token_is_valid_for_its_own_address_only(fleet: Fleet, inside: Inside) -> None:
    stolen = inside.token().text
    response = requests.get(f"{fleet.cloud.metadata}/latest/user-data", headers={TOKEN: stolen}, timeout=5)
    assert response.status_code == 401


@pytest.mark.parametrize("seconds", ["0", "21601", "soon", ""])
def test_a_token_needs_a_lifetime_of_up_to_six_hours(inside: Inside, seconds: str) -> None:
    assert inside.token(**{TTL: seconds}).status_code == 400


def test_a_proxy_gets_no_token(inside: Inside) -> None:
    assert inside.token(**{"X-Forwarded-For": "203.0.113.7"}).status_code == 403


def test_an_address_without_an_instance_has_no_metadata(fleet: Fleet) -> None:
    url = f"{fleet.cloud.metadata}/latest"
    token = requests.put(f"{url}/api/token", headers={TTL: "60"}, timeout=5).text
    assert requests.get(f"{url}/user-data", headers={TOKEN: token}, timeout=5).status_code == 404


def test_metadata_has_instance_id_region_zone_and_address(fleet: Fleet, inside: Inside) -> None:
    document = json.loads(inside.get("dynamic/instance-identity/document").text)
    assert document["instanceId"] == fleet.member()
    assert document["region"] == REGION
    assert document["privateIp"] == inside.address
    assert inside.get("meta-data/instance-id").text == fleet.member()
    assert inside.get("meta-data/placement/region").text == REGION
    assert inside.get("meta-data/placement/availability-zone").text == document["availabilityZone"]


def test_user_data_is_the_launch_templates(inside: Inside) -> None:
    assert inside.get("user-data").text == USER_DATA


def test_the_launch_templates_role_has_credentials(inside: Inside) -> None:
    assert inside.get("meta-data/iam/security-credentials/").text == "app-role"
    credentials = json.loads(inside.get("meta-data/iam/security-credentials/app-role").text)
    assert credentials["Code"] == "Success"
    assert {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} <= credentials.keys()
    assert inside.get("meta-data/iam/security-credentials/another").status_code == 404


def test_tags_are_available_when_the_launch_template_enables_them(inside: Inside) -> None:
    assert inside.get("meta-data/tags/instance/Release").text == "v1"
    assert inside.get("meta-data/tags/instance/Color").text == "blue"


def test_folders_list_their_content(inside: Inside) -> None:
    assert "instance-id" in inside.get("meta-data/").text.splitlines()
    assert inside.get("meta-data/placement").text.splitlines() == ["availability-zone", "region"]
    assert inside.get("meta-data/nonsense").status_code == 404


def test_the_target_lifecycle_state_is_terminated_from_the_start_of_a_termination(fleet: Fleet, inside: Inside) -> None:
    path = "meta-data/autoscaling/target-lifecycle-state"
    assert inside.get(path).text == "InService"
    instance = fleet.member()
    fleet.complete(instance, "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    fleet.cloud.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=instance, ShouldDecrementDesiredCapacity=False
    )
    fleet.wait_for(["Pending:Wait", "Terminating:Wait"])
    assert inside.get(path).text == "Terminated"
