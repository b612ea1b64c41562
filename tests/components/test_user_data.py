from __future__ import annotations

import base64
from dataclasses import replace

from ami.boot.settings import parse
from components.user_data import LogGroups, UserData, render

DATA = UserData(
    stack="dev",
    color="green",
    release="v2",
    release_url="s3://bucket/releases/v2/bundle.tar.gz",
    sha256="a" * 64,
    port=8080,
    health_path="/health",
    parameter_path="/bluegreen/dev/app/",
    boot_timeout=300,
    drain_timeout=30,
    alerts_topic_arn="arn:aws:sns:eu-central-1:123456789012:alerts",
    log_groups=LogGroups(app="/bluegreen/dev/app", boot="/bluegreen/dev/boot", system="/bluegreen/dev/system"),
    base_image="registry.example/base@sha256:" + "b" * 64,
)


def test_every_line_is_a_name_and_a_value() -> None:
    assert render(DATA).splitlines() == [
        "STACK=dev",
        "ENVIRONMENT=dev",
        "COLOR=green",
        "RELEASE=v2",
        "RELEASE_URL=s3://bucket/releases/v2/bundle.tar.gz",
        f"RELEASE_SHA256={'a' * 64}",
        "PORT=8080",
        "HEALTH_PATH=/health",
        "PARAMETER_PATH=/bluegreen/dev/app/",
        "ALERTS_TOPIC_ARN=arn:aws:sns:eu-central-1:123456789012:alerts",
        "LOG_GROUP=/bluegreen/dev/app",
        "BOOT_LOG_GROUP=/bluegreen/dev/boot",
        "SYSTEM_LOG_GROUP=/bluegreen/dev/system",
        f"BASE_IMAGE=registry.example/base@sha256:{'b' * 64}",
        "LAUNCH_HOOK=boot",
        "TERMINATION_HOOK=drain",
        "METRICS_NAMESPACE=bluegreen",
        "BOOT_DEADLINE=280",
        "DRAIN_SECONDS=30",
    ]


def test_the_boot_program_reads_what_is_written_here() -> None:
    read = parse(render(DATA))
    assert (read.release, read.port) == ("v2", 8080)
    groups = (read.log_group, read.boot_log_group, read.system_log_group)
    assert groups == ("/bluegreen/dev/app", "/bluegreen/dev/boot", "/bluegreen/dev/system")


def test_the_boot_program_reads_a_stack_without_extras() -> None:
    bare = replace(
        DATA, alerts_topic_arn="", log_groups=LogGroups(), base_image="", sha256="", release_url="https://host/v2.tgz"
    )
    assert parse(render(bare)).release == "v2"


def test_the_longest_user_data_fits() -> None:
    long = replace(
        DATA, release_url="https://" + "u" * 248, stack="s" * 40, release="r" * 40, health_path="/" + "h" * 999
    )
    assert len(base64.b64encode(render(long).encode())) < 16 * 1024  # EC2's limit
