"""Options that `python -m rehearsal.vpn` refuses before it starts anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TUNNEL = """<ipsec_tunnel>
<customer_gateway><tunnel_outside_address><ip_address>203.0.113.10</ip_address></tunnel_outside_address>
<tunnel_inside_address><ip_address>169.254.100.2</ip_address></tunnel_inside_address></customer_gateway>
<vpn_gateway><tunnel_outside_address><ip_address>198.51.100.10</ip_address></tunnel_outside_address>
<tunnel_inside_address><ip_address>169.254.100.1</ip_address></tunnel_inside_address></vpn_gateway>
<ike><pre_shared_key>a.key.of.32.letters</pre_shared_key></ike></ipsec_tunnel>"""


def document(folder: Path, *, attributes: str = "NoBGPVPNConnection", tunnels: int = 2) -> Path:
    path = folder / "connection.xml"
    marks = f"<vpn_connection_attributes>{attributes}</vpn_connection_attributes>"
    path.write_text(f'<vpn_connection id="vpn-1">{marks}{TUNNEL * tunnels}</vpn_connection>')
    return path


def refused(*words: str) -> str:
    """The error message as one line; the exit code is that of a usage error."""
    argv = [sys.executable, "-m", "rehearsal.vpn", *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return re.sub(r"[\s│]+", " ", done.stderr)


def test_bare_and_configuration_exclude_each_other(tmp_path: Path) -> None:
    message = refused("--bare", "--configuration", str(document(tmp_path)))
    assert "--bare and --configuration exclude each other: use one of them" in message


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"tunnels": 1}, "a connection of AWS has 2"), ({"attributes": ""}, "allowed is static")],
)
def test_an_unsupported_document_is_refused(tmp_path: Path, wrong: dict[str, str | int], sentence: str) -> None:
    path = document(tmp_path, **wrong)  # type: ignore[arg-type]
    message = refused("--configuration", str(path), "--remote-cidr", "192.168.0.0/24", "--vpc-cidr", "10.0.0.0/16")
    assert sentence in message


def test_a_document_needs_the_cidr_options(tmp_path: Path) -> None:
    assert "no range of the remote network is known" in refused("--configuration", str(document(tmp_path)))
