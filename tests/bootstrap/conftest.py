"""Nothing of this folder connects or starts processes."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _offline(offline: None) -> None:
    """For every test of this folder."""
