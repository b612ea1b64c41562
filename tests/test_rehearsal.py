"""`make rehearse`: the entire scenario and the expected figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 900

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.timeout(LIMIT_S + 60),
    pytest.mark.skipif(os.geteuid() != 0, reason="the rehearsal needs root"),
]


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("report")
    done = subprocess.run(
        [sys.executable, "-m", "rehearsal", "--report", str(folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode == 3:
        pytest.skip(f"this host can't run the rehearsal: {done.stdout.strip()} {done.stderr.strip()}")
    return done, folder


@pytest.fixture(scope="module")
def report(completed: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    done, folder = completed
    assert done.returncode == 0, done.stdout + done.stderr
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def test_the_scenario_passes(report: dict[str, Any]) -> None:
    assert report["ok"] is True
    assert [step["name"] for step in report["steps"] if not step["ok"]] == []
    assert report["engine"] == "pulumi"


def test_none_of_30_000_requests_or_more_fails(report: dict[str, Any]) -> None:
    assert report["load"]["failed"] == 0
    assert report["load"]["requests"] >= 30_000
    assert report["load"]["rps"] >= 500


def test_a_cutover_changes_one_resource_and_fails_no_request(report: dict[str, Any]) -> None:
    cutovers = [(cutover["from"], cutover["to"]) for cutover in report["cutovers"]]
    there, back = ("blue v1", "green v2"), ("green v2", "blue v1")
    assert cutovers == [there, back, there, back]
    assert [cutover["changed_resources"] for cutover in report["cutovers"]] == [1, 1, 1, 1]
    assert [cutover["failed"] for cutover in report["cutovers"]] == [0, 0, 0, 0]
    assert all(cutover["requests"] > 0 for cutover in report["cutovers"])


def test_an_unchanged_program_makes_no_write_call(report: dict[str, Any]) -> None:
    assert report["unchanged"]["write_calls"] == 0


def test_old_config_is_refused_and_changes_nothing(report: dict[str, Any]) -> None:
    figures = report["old_config"]
    assert len(figures.pop("refused_seconds")) == 3
    assert figures == {"changed_resources_after_sync": 0, "write_calls": 0, "failed": 0}


def test_an_instance_is_reached_through_the_vpn_or_a_gap_is_reported(report: dict[str, Any]) -> None:
    reasons = [gap["reason"] for gap in report["gaps"] if gap["action"] == "VPN"]
    if "vpn" not in report:
        assert [reason.startswith("skipped: ") for reason in reasons] == [True]
        return
    assert (report["vpn"]["ok"], report["vpn"]["cleartext_packets"], reasons) == (True, 0, [])
    assert report["vpn"]["failover_seconds"] < 10


def test_every_instance_reports_its_boot_steps(report: dict[str, Any]) -> None:
    # Two instances for v1, v2, v3, and v1 again; the restarted one counts once, with its last boot.
    assert len(report["boots"]) == 8
    assert {boot["state"] for boot in report["boots"]} == {"ready"}
    fresh = [boot for boot in report["boots"] if "download" in boot["steps"]]
    assert len(fresh) == 7


def test_the_gaps_of_the_emulator_are_reported(report: dict[str, Any]) -> None:
    assert {"autoscaling", "elbv2", "s3"} <= {gap["service"] for gap in report["gaps"]}
    assert all(gap["reason"] for gap in report["gaps"])


def test_the_page_is_next_to_the_report(completed: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, folder = completed
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "passed" in page
