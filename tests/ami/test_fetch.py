from __future__ import annotations

import time
from pathlib import Path

import pytest

from ami.boot.boot_context import BootContext
from ami.boot.cloud import Cloud
from ami.boot.fetch import ATTEMPTS, FetchError, FetchLimits, fetch
from ami.boot.retrying import Deadline, TransientError
from ami.boot.steps import download, verify
from ami.boot.user_data import parse
from tests.ami.releases import Exchange, TlsServer, app_bundle, free_port, sha256, user_data

QUICK = FetchLimits(stall_seconds=0.2, stall_bytes=1000)


def no_objects(bucket: str, key: str) -> str:
    raise AssertionError(f"{bucket}/{key} was requested")


def get(url: str, target: Path, *, seconds: float = 5, limits: FetchLimits = QUICK) -> str:
    return fetch(url, target, presign=no_objects, deadline=Deadline(seconds), limits=limits)


def test_a_file_arrives_complete_and_its_digest_is_returned(web: TlsServer, tmp_path: Path) -> None:
    source = app_bundle(tmp_path / "source")
    assert get(web.file("/v1.tar.gz", source), tmp_path / "target") == sha256(source)
    assert (tmp_path / "target").read_bytes() == source.read_bytes()


def test_a_redirect_is_followed_as_github_makes_them(web: TlsServer, tmp_path: Path) -> None:
    source = app_bundle(tmp_path / "source")
    there = web.file("/codeload/v1", source)
    url = web.answer("/archive/v1.tar.gz", lambda exchange: exchange.send(302, Location=there))
    assert get(url, tmp_path / "target") == sha256(source)


def test_a_redirect_away_from_https_is_refused(web: TlsServer, tmp_path: Path) -> None:
    url = web.answer("/x", lambda exchange: exchange.send(302, Location="http://127.0.0.1/x?token=abc"))
    with pytest.raises(FetchError, match=r"redirects to http://127.0.0.1/x: not https"):
        get(url, tmp_path / "target")


def test_an_unknown_certificate_is_not_trusted(web: TlsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED"):
        get(web.file("/x", app_bundle(tmp_path / "source")), tmp_path / "target", seconds=0.1)


@pytest.mark.parametrize("status", [404, 403, 401])
def test_a_refusal_is_not_retried(web: TlsServer, tmp_path: Path, status: int) -> None:
    url = web.answer("/x", lambda exchange: exchange.send(status))
    with pytest.raises(FetchError, match=f"/x: answered {status}"):
        get(url + "?token=hunter22", tmp_path / "target")
    assert web.seen == ["/x"]


def test_a_server_error_passes(web: TlsServer, tmp_path: Path) -> None:
    source = app_bundle(tmp_path / "source")

    def second_time(exchange: Exchange) -> None:
        exchange.send(*((503, b"") if len(web.seen) == 1 else (200, source.read_bytes())))

    assert get(web.answer("/x", second_time), tmp_path / "target") == sha256(source)
    assert len(web.seen) == 2


def test_an_answer_cut_short_is_fetched_again(web: TlsServer, tmp_path: Path) -> None:
    source = app_bundle(tmp_path / "source")

    def first_half(exchange: Exchange) -> None:
        content = source.read_bytes()
        sent = content if len(web.seen) > 1 else content[:100]
        exchange.send(200, sent, length=str(len(content)))
        exchange.close_connection = True

    assert get(web.answer("/x", first_half), tmp_path / "target") == sha256(source)
    assert len(web.seen) == 2


def test_a_silent_download_counts_as_stalled_each_time_and_then_fails(web: TlsServer, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"/x: stalled, nothing arrived for 0.2 s"):
        get(web.stall("/x", b"begin"), tmp_path / "target")
    assert len(web.seen) == ATTEMPTS


def test_a_trickle_counts_as_stalled(web: TlsServer, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"/x: stalled, \d+ bytes in 0.2 s"):
        get(web.trickle("/x"), tmp_path / "target", seconds=1)


def test_the_steps_deadline_ends_even_a_quick_download(web: TlsServer, tmp_path: Path) -> None:
    limits = FetchLimits(stall_seconds=0.2, stall_bytes=1)
    with pytest.raises(FetchError, match="timed out"):
        get(web.trickle("/x"), tmp_path / "target", seconds=0.5, limits=limits)


@pytest.mark.parametrize("said", [True, False])
def test_more_than_the_limit_is_refused_whether_announced_or_not(web: TlsServer, tmp_path: Path, said: bool) -> None:
    def how(exchange: Exchange) -> None:
        if said:
            exchange.send(200, bytes(2000))
        else:
            exchange.send_response(200)
            exchange.end_headers()
            exchange.wfile.write(bytes(2000))

    with pytest.raises(FetchError, match="more than the allowed 1000"):
        get(web.answer("/x", how), tmp_path / "target", limits=FetchLimits(max_bytes=1000))


def test_a_refused_connection_is_transient(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="Connection refused"):
        get(f"https://127.0.0.1:{free_port()}/x", tmp_path / "target", seconds=0.1)


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_other_schemes_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="only s3:// and https://"):
        get(url, tmp_path / "target")


def put_object(cloud: Cloud, source: Path) -> None:
    cloud.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": cloud.region})
    cloud.client("s3").upload_file(str(source), "artifacts", "releases/v1/bundle.tar.gz")


def set_release(context: BootContext, **changed: object) -> None:
    values = {"url": "s3://artifacts/releases/v1/bundle.tar.gz", "sha256": "0" * 64, **changed}
    context.user_data = parse(user_data(**values))
    context.fetch_limits = QUICK


def test_the_step_fetches_an_object_and_verifies_it(cloud: Cloud, context: BootContext, tmp_path: Path) -> None:
    source = app_bundle(tmp_path / "source")
    put_object(cloud, source)
    set_release(context, sha256=sha256(source))
    download(context)
    verify(context)
    assert context.paths.bundle.read_bytes() == source.read_bytes()


def test_a_missing_object_is_named_without_its_signature(cloud: Cloud, context: BootContext, tmp_path: Path) -> None:
    put_object(cloud, app_bundle(tmp_path / "source"))
    set_release(context, url="s3://artifacts/releases/v2/bundle.tar.gz")
    with pytest.raises(FetchError, match="answered 404 NoSuchKey") as error:
        download(context)
    assert "Signature" not in str(error.value)


def test_a_wrong_digest_names_both(cloud: Cloud, context: BootContext, tmp_path: Path) -> None:
    source = app_bundle(tmp_path / "source")
    put_object(cloud, source)
    set_release(context)
    download(context)
    with pytest.raises(ValueError, match=f"sha256 is {sha256(source)}, expected {'0' * 64}"):
        verify(context)


def test_leftovers_of_an_interrupted_boot_are_removed(web: TlsServer, context: BootContext, tmp_path: Path) -> None:
    set_release(context, url=web.file("/v1", app_bundle(tmp_path / "source")), sha256=None)
    (context.paths.work / "tree").mkdir(parents=True)
    download(context)
    assert [path.name for path in context.paths.work.iterdir()] == ["bundle"]
    verify(context)


def test_a_release_that_hangs_takes_only_its_stall_time(web: TlsServer, context: BootContext) -> None:
    set_release(context, url=web.stall("/v1"), sha256=None)
    context.deadline = Deadline(1)
    began = time.monotonic()
    with pytest.raises(TransientError, match="stalled"):
        download(context)
    assert time.monotonic() - began < 2
