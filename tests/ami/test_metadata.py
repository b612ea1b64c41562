from __future__ import annotations

import time

import pytest

from ami.boot.metadata import Identity, Metadata
from ami.boot.retrying import TransientError
from rehearsal.cloud.metadata import Tokens
from tests.ami.conftest import INSTANCE, Imds
from tests.ami.releases import free_port
from tests.rehearsal.cloud.fleet import REGION


def test_identity_user_data_and_target_state_are_read(imds: Imds) -> None:
    imds.user_data, imds.target = "STACK=dev\n", "Terminated"
    metadata = Metadata()
    assert metadata.identity() == Identity(instance_id=INSTANCE, region=REGION, zone=f"{REGION}a")
    assert metadata.user_data() == "STACK=dev\n"
    assert metadata.target_lifecycle_state() == "Terminated"


def test_an_instance_without_a_group_has_no_target_state(imds: Imds) -> None:
    imds.target = ""
    assert Metadata().target_lifecycle_state() == ""


def test_a_token_that_ran_out_is_renewed(imds: Imds) -> None:
    metadata = Metadata()
    metadata.identity()
    imds.server.tokens = Tokens()
    assert metadata.identity().instance_id == INSTANCE


def test_no_answer_is_transient() -> None:
    with pytest.raises(TransientError, match="no answer"):
        Metadata(f"http://127.0.0.1:{free_port()}").identity()


def test_missing_user_data_is_not_transient(imds: Imds) -> None:
    with pytest.raises(FileNotFoundError, match="user-data"):
        Metadata().user_data()


def test_a_proxy_of_the_environment_is_not_used(imds: Imds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    assert Metadata().identity().region == REGION
    assert time.monotonic() - began < 2
