"""VPN configuration files for the customer gateway, and VPN diagnostics."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet.state import client
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import RefusedError, ScriptError, UsageError
from scripts.cli.options import JsonOption, StackOption, app
from scripts.stack.automation import StackFacts, open_stack, read_facts
from scripts.vpn.connection import KEY, Connection, UnreadableError, parse_xml, problems
from scripts.vpn.diagnostics import VpnState, diagnose
from scripts.vpn.render import HOME, render

LIST_SAS_S = 15.0
# It is written into files that strongSwan and a shell read.
HOME_FOLDER = re.compile(r"/[\w./-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class VpnDescription:
    """A VPN connection: its configuration for the customer gateway, and its telemetry at AWS."""

    connection: Connection
    telemetry: Sequence[Mapping[str, Any]]
    routes: int


def from_stack(facts: StackFacts, *, with_keys: bool) -> VpnDescription:
    """Reads EC2, and the keys from Secrets Manager where they are there. Raises UsageError without a VPN."""
    outputs = facts.outputs.get("vpn")
    if not outputs:
        raise UsageError(
            f"stack {facts.stack} has no VPN: set `vpn` in its config, then `pulumi up --stack {facts.stack}`"
        )
    response = client(facts.session, "ec2").describe_vpn_connections(VpnConnectionIds=[outputs["connectionId"]])
    found = response["VpnConnections"][0]
    connection = parse_xml(
        found["CustomerGatewayConfiguration"], remote_cidrs=outputs["remoteCidrs"], vpc_cidrs=[outputs["vpcCidr"]]
    )
    if with_keys and (arn := found.get("PreSharedKeyArn")):
        text = client(facts.session, "secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        connection = with_keys_of(connection, text)
    return VpnDescription(
        connection=connection,
        telemetry=found.get("VgwTelemetry") or [],
        routes=len([each for each in found.get("Routes") or [] if each["State"] == "available"]),
    )


def with_keys_of(connection: Connection, secret: str) -> Connection:
    """The connection with the keys out of AWS's secret: JSON that gives each outside address, somehow, a key.

    AWS promises no form, so any object in which an address and a key stand together is taken. Raises ScriptError,
    without the secret, when a tunnel's key is not there.
    """
    try:
        document = json.loads(secret)
    except json.JSONDecodeError:
        raise ScriptError("the VPN's secret in Secrets Manager is no JSON; take the keys by hand, with --xml") from None
    first, second = connection.tunnels
    keys = [_key_beside(document, each.outside_ip) for each in (first, second)]
    if missing := [each.outside_ip for each, key in zip((first, second), keys, strict=True) if not key]:
        raise ScriptError(f"the VPN's secret in Secrets Manager has no key for {', '.join(missing)}")
    return replace(connection, tunnels=(replace(first, preshared_key=keys[0]), replace(second, preshared_key=keys[1])))


def _key_beside(document: Any, address: str) -> str:
    if isinstance(document, list):
        return next((key for each in document if (key := _key_beside(each, address))), "")
    if not isinstance(document, dict):
        return ""
    if isinstance(direct := document.get(address), str):
        return direct
    if address in document.values():
        others = [value for name, value in document.items() if _is_key_name(name) and isinstance(value, str)]
        return next((value for value in others if KEY.fullmatch(value)), "")
    return _key_beside(list(document.values()), address)


def _is_key_name(name: str) -> bool:
    """Whether a field is called a pre-shared key, in whichever spelling."""
    plain = name.lower().replace("-", "").replace("_", "")
    return "presharedkey" in plain or plain == "psk"


def write(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the files readable by their owner only, as they hold the keys; scripts are executable."""
    if not folder.exists():
        folder.mkdir(parents=True, mode=0o700)
        (folder / ".gitignore").write_text("*\n")  # in a folder of ours alone: somebody's own has files to keep
    written = []
    for name, text in files.items():
        path = folder / name
        path.unlink(missing_ok=True)  # an older one may be readable to others
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700 if name.endswith(".sh") else 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        written.append(path)
    return written


def local_associations() -> str | None:
    """Output of `swanctl --list-sas` on this host, None when this is not the gateway."""
    program = shutil.which("swanctl")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "--list-sas"], capture_output=True, text=True, timeout=LIST_SAS_S, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout


def check(described: VpnDescription | None, log: Path | None, display: Display) -> None:
    """Print the findings. Raises ScriptError when there are any, UsageError when there is nothing to check."""
    connection = described.connection if described else None
    state = VpnState(
        addresses=[each.outside_ip for each in connection.tunnels] if connection else (),
        telemetry=described.telemetry if described else (),
        routing=connection.routing if connection else "static",
        routes=described.routes if described else None,
        sas=local_associations(),
        log=log.read_text(errors="replace") if log else "",
    )
    findings = diagnose(state)
    if not state.telemetry and state.sas is None and log is None:
        raise UsageError("nothing to check: name a stack with a VPN, or a --log, or run it on the gateway")
    documents = [{"tunnel": each.tunnel, "seen": each.seen, "means": each.means} for each in findings]
    if findings:
        display.table("VPN", ("tunnel", "seen", "means"), [tuple(each.values()) for each in documents])
        raise ScriptError(f"{len(findings)} findings", {"findings": documents})
    display.say("Both tunnels are up.")
    display.result({"findings": documents})


def read_document(path: Path, remote_cidrs: Sequence[str], vpc_cidrs: Sequence[str]) -> Connection:
    try:
        return parse_xml(path.read_text(), remote_cidrs=remote_cidrs, vpc_cidrs=vpc_cidrs)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path}: this is no text; allowed is AWS's customer gateway XML") from None


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    xml: Annotated[Path | None, typer.Option("--xml", help="AWS's customer gateway XML, instead of a stack.")] = None,
    remote_cidrs: Annotated[
        list[str] | None,
        typer.Option("--remote-cidr", help="A remote range; with --xml, which names none."),
    ] = None,
    vpc_cidrs: Annotated[
        list[str] | None, typer.Option("--vpc-cidr", help="A range of the VPC; with --xml, which names none.")
    ] = None,
    into: Annotated[
        Path, typer.Option("--into", file_okay=False, help="Folder for the files; it will hold the keys.")
    ] = Path("build/vpn"),
    home: Annotated[str, typer.Option("--home", help="Folder on the gateway that the files will lie in.")] = HOME,
    userspace: Annotated[
        bool, typer.Option("--userspace", help="For strongSwan's kernel-libipsec, where the kernel has no xfrm.")
    ] = False,
    checking: Annotated[bool, typer.Option("--check", help="Write nothing; run the VPN diagnostics.")] = False,
    log: Annotated[
        Path | None, typer.Option("--log", exists=True, dir_okay=False, help="Lines of charon, to diagnose as well.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the customer gateway's configuration for a stack's VPN, or diagnose the VPN."""
    display = Display(as_json=as_json)
    with exit_codes(display):
        if not HOME_FOLDER.fullmatch(home):
            raise UsageError(f"--home {home}: allowed is an absolute folder of letters, digits, and any of . _ - /")
        try:
            if checking:
                described = None if xml else from_stack(read_facts(open_stack(stack)), with_keys=False)
                check(described, log, display)
                return
            if xml:
                connection = read_document(xml, remote_cidrs or (), vpc_cidrs or ())
            else:
                connection = from_stack(read_facts(open_stack(stack)), with_keys=True).connection
        except UnreadableError as error:
            raise UsageError(str(error)) from error
        if found := problems(connection):
            raise RefusedError("; ".join(found))
        try:
            files = render(connection, userspace=userspace, home=home)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        try:
            written = write(files, into)
        except OSError as error:
            raise UsageError(f"--into {into}: {error.strerror}; allowed is a folder that can be written") from None
        display.say(f"{len(written)} files in {into}; keys are in swanctl.conf. Read sheet.md first.")
        display.result({"connection": connection.id, "files": [str(path) for path in written]})


if __name__ == "__main__":
    cli()
