from __future__ import annotations

import pytest

from ami.boot.settings import SettingsError, parse, read_pairs
from tests.ami.releases import user_data

DIGEST = "0" * 64


def test_everything_given_arrives() -> None:
    found = parse(
        user_data(RELEASE_URL="s3://artifacts/releases/v1/bundle.tar.gz", RELEASE_SHA256=DIGEST, LOG_GROUP="/app")
    )
    assert (found.stack, found.color, found.release, found.port) == ("dev", "blue", "v1", 8080)
    assert (found.release_sha256, found.log_group) == (DIGEST, "/app")


def test_what_is_left_out_has_the_documented_value() -> None:
    found = parse(user_data(ENVIRONMENT=None, BOOT_DEADLINE=None, DRAIN_SECONDS=None))
    assert found.environment == "dev"
    assert (found.launch_hook, found.termination_hook, found.metrics_namespace) == ("boot", "drain", "bluegreen")
    assert (found.boot_deadline, found.drain_seconds) == (270, 30)
    assert (found.base_image, found.alerts_topic_arn, found.parameter_path) == ("", "", "")


def test_every_fault_is_named_at_once_with_its_value_and_what_is_allowed() -> None:
    with pytest.raises(SettingsError) as error:
        parse(user_data(COLOR="red", PORT=70000, HEALTH_PATH="health", RELEASE=None, BOOT_DEADLINE="soon"))
    text = str(error.value)
    assert "COLOR: red: must be blue or green" in text
    assert "PORT: 70000: must be a whole number from 1 to 65535" in text
    assert "HEALTH_PATH: health: must be a path that begins with /" in text
    assert "RELEASE: missing: must be" in text
    assert "BOOT_DEADLINE: soon" in text


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
    with pytest.raises(SettingsError, match="RELEASE_URL"):
        parse(user_data(RELEASE_URL=url, RELEASE_SHA256=DIGEST))


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="RELEASE_URL") as error:
        parse(user_data(RELEASE_URL="https://me:hunter22@example.com/v1.tar.gz"))
    assert "hunter22" not in str(error.value)


def test_an_object_needs_its_digest() -> None:
    with pytest.raises(SettingsError, match="RELEASE_SHA256: missing: a release from s3 must have one"):
        parse(user_data(RELEASE_URL="s3://artifacts/releases/v1/bundle.tar.gz"))


@pytest.mark.parametrize("digest", ["0" * 63, "0" * 65, "G" * 64, "sha256:" + "0" * 64])
def test_a_malformed_digest_is_refused(digest: str) -> None:
    with pytest.raises(SettingsError, match="RELEASE_SHA256"):
        parse(user_data(RELEASE_SHA256=digest))


@pytest.mark.parametrize("release", ["v1 --privileged", "../v1", "-v1", "v" * 129])
def test_a_release_is_something_docker_can_tag(release: str) -> None:
    with pytest.raises(SettingsError, match="RELEASE:"):
        parse(user_data(RELEASE=release))


def test_data_is_never_code() -> None:
    pairs = read_pairs("# a comment\n\nA=$(reboot)\nB='x y'\nno assignment\nC=a=b\n")
    assert pairs == {"A": "$(reboot)", "B": "'x y'", "C": "a=b"}
