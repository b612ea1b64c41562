"""Injected faults of AWS services: error responses, selection of callers, clearing."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ResponseStreamingError

from rehearsal.cloud.client import CloudClient, ControlError
from tests.rehearsal.cloud.fleet import REGION, Maker, Running

BODY = bytes(range(256)) * 400
FAR_S = 1200.0  # clock skew: more than the 15 minutes that AWS accepts


@pytest.fixture
def faulty(cloud: Running) -> Iterator[CloudClient]:
    client = CloudClient(control=cloud.control)
    yield client
    client.clear_faults()


@pytest.fixture
def s3(cloud: Running) -> Any:
    client = cloud.client("s3")
    client.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_object(Bucket="artifacts", Key="release", Body=BODY)
    return client


def read(s3: Any) -> bytes:
    return bytes(s3.get_object(Bucket="artifacts", Key="release")["Body"].read())


def refusal(call: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def status_from(cloud: Running, address: str, service: str = "ssm") -> int:
    """Of a signed request from this source address."""
    url = f"{cloud.aws}/"
    request = AWSRequest("POST", url, data=b"{}", headers={"X-Amz-Target": "AmazonSSM.DescribeParameters"})
    SigV4Auth(Credentials("rehearsal", "rehearsal"), service, REGION).add_auth(request)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=5, source_address=(address, 0))
    try:
        connection.request("POST", "/", body=b"{}", headers=dict(request.headers.items()))
        return connection.getresponse().status
    finally:
        connection.close()


# Services of each protocol: that the SDK parses the response proves its format.
DOWN = [
    ("s3", "s3", "list_buckets", "ServiceUnavailable"),
    ("sns", "sns", "list_topics", "ServiceUnavailable"),
    ("autoscaling", "autoscaling", "describe_auto_scaling_groups", "ServiceUnavailable"),
    ("elbv2", "elasticloadbalancing", "describe_load_balancers", "ServiceUnavailable"),
    ("ec2", "ec2", "describe_vpcs", "Unavailable"),
    ("logs", "logs", "describe_log_groups", "ServiceUnavailableException"),
    ("ssm", "ssm", "describe_parameters", "ServiceUnavailableException"),
    ("ecr", "ecr", "describe_repositories", "ServiceUnavailableException"),
    ("cloudwatch", "monitoring", "describe_alarms", "ServiceUnavailableException"),
]
SKEWED = {
    "s3": (403, "RequestTimeTooSkewed"),
    "ec2": (400, "RequestExpired"),
    "sns": (403, "SignatureDoesNotMatch"),
    "autoscaling": (403, "SignatureDoesNotMatch"),
    "elbv2": (403, "SignatureDoesNotMatch"),
}


@pytest.mark.parametrize(("client", "service", "call", "code"), DOWN)
def test_a_service_that_is_down_returns_503_with_its_own_error_code(
    cloud: Running, faulty: CloudClient, client: str, service: str, call: str, code: str
) -> None:
    faulty.set_fault(service, "down")
    assert refusal(getattr(cloud.client(client), call)) == (503, code)
    assert cloud.client("sts").get_caller_identity()["Account"]
    faulty.clear_faults()
    getattr(cloud.client(client), call)()


@pytest.mark.parametrize(("client", "service", "call"), [row[:3] for row in DOWN])
def test_clock_skew_is_refused_with_the_services_own_error_code(
    cloud: Running, faulty: CloudClient, client: str, service: str, call: str
) -> None:
    expected = SKEWED.get(client, (400, "InvalidSignatureException"))
    for seconds in (FAR_S, -FAR_S):
        faulty.set_fault(service, "skewed", seconds=seconds)
        assert refusal(getattr(cloud.client(client), call)) == expected
    faulty.set_fault(service, "skewed", seconds=600)  # less than the 15 minutes that are accepted
    getattr(cloud.client(client), call)()


def test_the_error_of_an_expired_signature_names_both_times(cloud: Running, faulty: CloudClient) -> None:
    faulty.set_fault("sns", "skewed", seconds=FAR_S)
    with pytest.raises(ClientError, match=r"Signature expired: \d{8}T\d{6}Z is now earlier than .* - 15 min") as error:
        cloud.client("sns").list_topics()
    date = parsedate_to_datetime(error.value.response["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert abs((date - datetime.now(UTC)).total_seconds() - FAR_S) < 5


def test_a_presigned_request_is_valid_until_it_expires(cloud: Running, faulty: CloudClient, s3: Any) -> None:
    """Its own validity counts, not the 15 minutes; only one from the future is refused."""
    parameters = {"Bucket": "artifacts", "Key": "release"}
    create_client: Any = boto3.client
    client = create_client(
        "s3",
        region_name=REGION,
        endpoint_url=cloud.aws,
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",
        config=Config(signature_version="s3v4"),
    )

    def status(seconds: float) -> int:
        faulty.set_fault("s3", "skewed", seconds=seconds)
        parts = urlsplit(client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=1800))
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=5)
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    assert [status(seconds) for seconds in (FAR_S, 2400, -FAR_S)] == [200, 403, 403]


def test_a_slow_service_responds_correctly_but_late(faulty: CloudClient, s3: Any) -> None:
    faulty.set_fault("s3", "slow", seconds=0.5)
    began = time.monotonic()
    assert read(s3) == BODY
    assert 0.5 <= time.monotonic() - began < 3


def test_a_delayed_response_is_sent_when_the_fault_is_cleared(faulty: CloudClient, s3: Any) -> None:
    faulty.set_fault("s3", "slow", seconds=50)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        delayed = pool.submit(read, s3)
        while not faulty.faults()[0]["requests"]:
            assert time.monotonic() - began < 10
        faulty.clear_faults()
        assert delayed.result(timeout=10) == BODY


def test_a_cut_body_ends_before_its_length(faulty: CloudClient, s3: Any) -> None:
    faulty.set_fault("s3", "cut")
    found = s3.get_object(Bucket="artifacts", Key="release")
    assert found["ContentLength"] == len(BODY)
    with pytest.raises(ResponseStreamingError, match="IncompleteRead"):
        found["Body"].read()
    faulty.clear_faults()
    assert read(s3) == BODY


def test_a_fault_applies_only_to_its_addresses(cloud: Running, faulty: CloudClient) -> None:
    faulty.set_fault("ssm", "down", addresses=["127.0.0.5", "127.9.0.0/16"])
    statuses = {at: status_from(cloud, at) for at in ("127.0.0.1", "127.0.0.5", "127.9.1.1", "127.8.1.1")}
    assert statuses == {"127.0.0.1": 200, "127.0.0.5": 503, "127.9.1.1": 503, "127.8.1.1": 200}


def test_a_fault_applies_only_to_instances_of_its_color(cloud: Running, faulty: CloudClient, make_fleet: Maker) -> None:
    fleet = make_fleet(LifecycleHookSpecificationList=[])
    address = cloud.row(fleet.member())["address"]
    for color, expected in (("green", 200), ("blue", 503)):
        faulty.set_fault("ssm", "down", color=color)
        assert status_from(cloud, address) == expected
        assert status_from(cloud, "127.0.0.1") == 200
        faulty.clear_faults()


def test_a_fault_counts_its_requests_and_a_new_one_replaces_it(cloud: Running, faulty: CloudClient) -> None:
    faulty.set_fault("ssm", "slow", seconds=9)
    faulty.set_fault("ssm", "down")
    assert [(fault["mode"], fault["requests"], fault["first"]) for fault in faulty.faults()] == [("down", 0, None)]
    before = datetime.now(UTC)
    refusal(cloud.client("ssm").describe_parameters)
    refusal(cloud.client("ssm").describe_parameters)
    (fault,) = faulty.faults()
    assert fault["requests"] == 2
    assert before <= datetime.fromisoformat(fault["first"]) <= datetime.now(UTC)


def test_a_request_that_a_fault_refuses_is_not_counted_as_a_call(cloud: Running, faulty: CloudClient) -> None:
    before = faulty.write_calls()
    faulty.set_fault("ssm", "down")
    refusal(cloud.client("ssm").put_parameter, Name="any", Value="any", Type="String")
    assert faulty.write_calls() == before


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"service": "sqs", "mode": "down"}, "service='sqs': allowed are .*s3.*"),
        ({"service": "s3", "mode": "gone"}, "mode='gone': allowed are down, slow, cut, skewed$"),
        ({"service": "s3", "mode": "slow"}, "seconds=0 of slow: 0 to 86400 is allowed, not 0"),
        ({"service": "s3", "mode": "slow", "seconds": -1}, "seconds=-1 of slow"),
        ({"service": "s3", "mode": "cut", "seconds": 3}, "seconds=3 of cut: only slow and skewed take seconds"),
        ({"service": "s3", "mode": "down", "addresses": ["blue"]}, "address 'blue'"),
    ],
)
def test_an_invalid_fault_is_refused(faulty: CloudClient, fault: dict[str, Any], message: str) -> None:
    with pytest.raises(ControlError, match=message):
        faulty.set_fault(**fault)
    assert faulty.faults() == []
