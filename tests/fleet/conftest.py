"""Makes the emulated AWS of tests/scripts/cloud.py known to the tests in this folder."""

from tests.scripts.cloud import aws, moto_url, session, world

__all__ = ["aws", "moto_url", "session", "world"]
