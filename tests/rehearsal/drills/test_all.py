"""All drills, as in `make drill`: detection, recovery, notification and failed requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rehearsal.drills.drill import Drill
from rehearsal.drills.register import DRILLS

ROOT = Path(__file__).resolve().parents[3]
ALL_WITHIN_S = 900.0
TIMEOUT_S = 2400.0  # against hanging; a slow run is to show by which drill it was slow

pytestmark = [
    pytest.mark.drills,
    pytest.mark.timeout(TIMEOUT_S + 60),
    pytest.mark.skipif(os.geteuid() != 0, reason="the drills need root"),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("drills")
    done = subprocess.run(
        [sys.executable, "-m", "rehearsal.drills", "--report", str(folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode == 3:
        pytest.skip(f"this host can't run drills: {done.stdout.strip()} {done.stderr.strip()}")
    assert (folder / "drills.json").is_file(), done.stdout + done.stderr
    found = json.loads((folder / "drills.json").read_text())["drills"]
    assert [row["fault"] for row in found] == [drill.fault for drill in DRILLS], done.stdout + done.stderr
    assert done.returncode == (0 if all(row["ok"] for row in found) else 1), done.stdout + done.stderr
    return {row["fault"]: row for row in found}


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.fault)
def test_the_stack_handles_the_fault_as_expected(drill: Drill, rows: dict[str, dict[str, Any]]) -> None:
    row = rows[drill.fault]
    assert row["ok"], row["note"]
    assert row["detected_by"]
    assert row["failed"] <= drill.max_error_rate * row["requests"]
    assert 0 <= row["detected_seconds"] <= drill.max_detection_seconds
    assert 0 <= row["recovered_seconds"] <= drill.max_recovery_seconds
    assert row["notified"] or not drill.must_notify


def test_all_drills_together_take_at_most_a_quarter_of_an_hour(rows: dict[str, dict[str, Any]]) -> None:
    assert sum(row["seconds"] for row in rows.values()) <= ALL_WITHIN_S
