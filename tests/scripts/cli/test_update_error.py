"""What is told of a failed update, from texts that the Pulumi CLI wrote (engine_output/)."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import CommandError

from scripts.cli.display import Display, exit_codes, update_error
from scripts.cli.exits import Exit

OUTPUT = Path(__file__).parent.parent / "engine_output"
GATE = (
    'before hook "gate-before-users" failed: green is not ready for traffic, its release v2 fails the smoke test: '
    "health: "
    "GET /health?deep=1 answered 503 with status 'ok', not 200 with 'ok'; database: down. The traffic stays as it is; "
    "deploy a good release to green"
)
CONFIG = """The stack's config can't be used:
  green.amiId: ami-12: allowed is an image id, such as ami-0123456789abcdef0, or empty
  zoneCount: 77: allowed is a whole number from 2 to 8
  alertWebhooks: (hidden): allowed is https://host/path with the host in lower case, without user, password, \
fragment or space"""
# As the program's own runtime adds it, when the engine went away before it did.
RUNTIME = """  pulumi:pulumi:Stack (bluegreen-dev):
    error: update failed
    error: Program failed with an unhandled exception:
    Traceback (most recent call last):
      File "pulumi/runtime/resource.py", line 905, in do_register
        resp = await asyncio.get_event_loop().run_in_executor(None, do_rpc_call)
    grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:
    \tstatus = StatusCode.UNAVAILABLE
    \tdetails = "Socket closed"
    >
    During handling of the above exception, another exception occurred:
    Traceback (most recent call last):
      File "pulumi/runtime/stack.py", line 146, in run_pulumi_func
    pulumi.errors.RunError: Resource monitor has terminated, shutting down
    RuntimeError: no running event loop
    error: an unhandled error occurred: Program exited with non-zero exit code: 1
"""


def engine(name: str) -> str:
    return (OUTPUT / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gate_refusal", GATE),
        ("config_refusal", CONFIG),
        (
            "config_of_a_wrong_type",
            "validating stack config: Stack 'dev' with configuration key 'alertEmails' must be of type 'array<string>'",
        ),
    ],
)
def test_an_error_keeps_its_lines_and_loses_the_engines_surroundings(name: str, told: str) -> None:
    assert update_error(engine(name)) == told


def test_what_the_runtime_adds_when_the_engine_goes_away_is_no_error() -> None:
    before, outputs, after = engine("gate_refusal").partition("Outputs:\n")
    own = "  pulumi:pulumi:Stack (bluegreen-dev):\n"
    assert own in before
    text = before[: before.index(own)] + RUNTIME + "\n" + outputs + after
    assert update_error(text) == GATE


def test_the_sentence_stands_alone_and_last(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    failed = CommandError(CommandResult(stdout=engine("gate_refusal"), stderr="", code=255))

    def run() -> None:
        with exit_codes(display):
            display.note("green: release v2, wants 1, 1 healthy")
            raise failed

    with pytest.raises(typer.Exit) as ended:
        run()
    assert ended.value.exit_code == Exit.FAILED
    assert capsys.readouterr().err.splitlines() == ["green: release v2, wants 1, 1 healthy", GATE]


def test_what_an_app_says_of_its_own_login_is_not_ours() -> None:
    text = "Diagnostics:\n  aws:autoscaling:Group (blue):\n    error: blue-1: app: Unable to locate credentials\n"
    assert update_error(text) == "blue-1: app: Unable to locate credentials"
