from __future__ import annotations

from pathlib import Path

import pytest

from tests.rehearsal.cli.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(folder=tmp_path)
