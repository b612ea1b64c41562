from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from ami.boot.files import read_pairs
from ami.boot.user_data import App, LogGroups, Release, ReportingInfo, UserData, UserDataError, parse
from tests.ami.releases import user_data

DIGEST = "0" * 64
S3 = "s3://artifacts/releases/v1/bundle.tar.gz"
DATA = UserData(
    stack="dev",
    color="green",
    release=Release(version="v2", url="s3://bucket/releases/v2/bundle.tar.gz", sha256="a" * 64),
    app=App(port=8080, health_path="/health", boot_timeout=300, drain_timeout=30),
    parameter_path="/bluegreen/dev/app/",
    alerts_topic_arn="arn:aws:sns:eu-central-1:123456789012:alerts",
    log_groups=LogGroups(app="/bluegreen/dev/app", boot="/bluegreen/dev/boot", system="/bluegreen/dev/system"),
    base_image="registry.example/base@sha256:" + "b" * 64,
)


def problems(text: str) -> list[str]:
    with pytest.raises(UserDataError) as error:
        parse(text)
    return str(error.value).removeprefix("user data: ").split("; ")


def test_what_the_program_writes_is_what_the_instance_reads() -> None:
    assert parse(DATA.render()) == DATA
    assert parse(user_data(url=S3, sha256=DIGEST)).release == Release(version="v1", url=S3, sha256=DIGEST)


def test_the_written_form_is_json_of_one_format() -> None:
    assert json.loads(DATA.render()) == {
        "format": 1,
        "stack": "dev",
        "color": "green",
        "release": {"version": "v2", "url": "s3://bucket/releases/v2/bundle.tar.gz", "sha256": "a" * 64},
        "app": {"port": 8080, "health_path": "/health", "boot_timeout": 300, "drain_timeout": 30},
        "parameter_path": "/bluegreen/dev/app/",
        "alerts_topic_arn": "arn:aws:sns:eu-central-1:123456789012:alerts",
        "log_groups": {
            "app": "/bluegreen/dev/app",
            "boot": "/bluegreen/dev/boot",
            "system": "/bluegreen/dev/system",
        },
        "base_image": "registry.example/base@sha256:" + "b" * 64,
    }


def test_the_longest_user_data_fits() -> None:
    long = replace(
        DATA,
        stack="s" * 40,
        release=Release(version="r" * 40, url="https://" + "u" * 248, sha256="a" * 64),
        app=replace(DATA.app, health_path="/" + "h" * 999),
    )
    assert len(base64.b64encode(long.render().encode())) < 16 * 1024  # EC2's limit


def test_what_is_left_out_is_empty() -> None:
    found = parse(user_data())
    assert (found.base_image, found.alerts_topic_arn, found.parameter_path) == ("", "", "")
    assert found.log_groups == LogGroups()
    assert found.release.sha256 == ""


def test_the_boot_ends_before_its_hook_does() -> None:
    assert parse(user_data(boot_timeout=300)).boot_deadline == 280


def test_every_fault_is_named_at_once_with_its_value_and_what_is_allowed() -> None:
    text = user_data(color="red", port=70000, health_path="health", version=None, boot_timeout="soon", typo=1)
    assert problems(text) == [
        "color: red: must be blue or green",
        "release.version: missing: must be letters, digits, . _ -, at most 40",
        "app.port: 70000: must be a whole number from 1 to 65535",
        "app.health_path: health: must be a path from / on, without a query",
        "app.boot_timeout: soon: must be a whole number from 60 to 1740",
        "typo: there is no such field",
    ]


@pytest.mark.parametrize(("field", "value"), [("port", "8080"), ("port", True), ("stack", 7), ("base_image", None)])
def test_types_are_those_of_the_schema(field: str, value: Any) -> None:
    raw = json.loads(user_data())
    (raw["app"] if field == "port" else raw)[field] = value
    (problem,) = problems(json.dumps(raw))
    assert problem.rpartition(": must be")[0].split(": ")[0].rpartition(".")[2] == field


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v1.tar.gz",
        "ftp://example.com/v1.tar.gz",
        "file:///etc/passwd",
        "s3://bucket-without-key",
        "https://[broken/v1.tar.gz",
        "v1.tar.gz",
    ],
)
def test_only_objects_and_https_are_release_urls(url: str) -> None:
    (problem, *_) = problems(user_data(url=url, sha256=DIGEST))
    assert problem.startswith("release.url: ")
    assert problem.endswith(": must be s3://bucket/key or https://host/path")


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    (problem,) = problems(user_data(url="https://me:hunter22@example.com/v1.tar.gz"))
    assert problem.startswith("release.url: https://example.com/v1.tar.gz: must be")


def test_an_object_needs_its_digest() -> None:
    assert problems(user_data(url=S3)) == ["release.sha256: missing: a release from s3 must have one"]


@pytest.mark.parametrize("digest", ["0" * 63, "0" * 65, "G" * 64, "sha256:" + "0" * 64])
def test_a_malformed_digest_is_refused(digest: str) -> None:
    assert problems(user_data(sha256=digest))[0].startswith(f"release.sha256: {digest}: must be")


@pytest.mark.parametrize("release", ["v1 --privileged", "../v1", "-v1", "v" * 41])
def test_a_release_is_something_docker_can_tag(release: str) -> None:
    assert problems(user_data(version=release))[0].startswith(f"release.version: {release}: must be")


def test_the_old_format_is_refused_by_a_sentence_that_names_the_new_one() -> None:
    assert problems("STACK=dev\nRELEASE=v1\n") == [
        "KEY=VALUE lines, as older versions of the program wrote: must be JSON of format 1 (ami/boot/user_data.py)"
    ]


@pytest.mark.parametrize("text", ["", "#!/bin/sh\nreboot\n", "[]", '{"format": 2}', '{"stack": "dev"}'])
def test_any_other_form_is_refused(text: str) -> None:
    assert problems(text) == ["another form: must be JSON of format 1 (ami/boot/user_data.py)"]


def test_invalid_user_data_is_parsed_as_far_as_a_report_needs_it() -> None:
    assert ReportingInfo.parse(user_data(color="red", alerts_topic_arn="arn:1", log_boot="/boot")) == ReportingInfo(
        stack="dev", color="red", version="v1", alerts_topic_arn="arn:1", boot_log_group="/boot"
    )
    assert ReportingInfo.parse("STACK=dev\n") is None


def test_data_is_never_code() -> None:
    pairs = read_pairs("# a comment\n\nA=$(reboot)\nB='x y'\nno assignment\nC=a=b\n")
    assert pairs == {"A": "$(reboot)", "B": "'x y'", "C": "a=b"}
