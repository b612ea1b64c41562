#!/usr/bin/env python3
"""Smoke test of a color, or of the public endpoint: health, release, deep checks, certificate, and further paths.

Or of instances at their private addresses, as through the VPN.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

if not __package__:
    # Run as a file, from any folder and without an active environment: use this project's.
    _root = Path(__file__).resolve().parent.parent
    _python = _root / ".venv" / "bin" / "python"
    if find_spec("typer") is None and _python.exists():
        os.execv(_python, [str(_python), *sys.argv])  # noqa: S606 - the same script, by the project's own interpreter
    sys.path[0] = str(_root)

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated

import typer

from fleet.colors import Color
from fleet.smoke_test import CheckResult, PathCheck, failures, smoke
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import Exit, UsageError
from scripts.cli.options import JsonOption, StackOption, app, seconds
from scripts.cli.private_addresses import INSTANCES, PrivateAddress, addresses_of, parse


@dataclass(frozen=True, kw_only=True)
class SmokeArgs:
    """Subject and expected result; a color is reached by the preview header, no color is the public endpoint."""

    stack: str = ""
    url: str = ""
    private: tuple[str, ...] = ()
    color: Color | None = None
    release: str = ""
    deep: bool = True
    require: tuple[str, ...] = ()
    paths: tuple[PathCheck, ...] = ()
    deadline_s: float = 30.0


def run_smoke(args: SmokeArgs) -> list[CheckResult]:
    if args.url and args.private:
        raise UsageError("--url and --private exclude each other")
    if args.url:
        return _smoke(args, args.url, {}, args.release, "/health")
    if args.private and INSTANCES not in args.private:
        return _smoke_each(args, [parse(text) for text in args.private], args.release, "/health")
    from scripts.stack.automation import open_stack, read_facts

    facts = read_facts(open_stack(args.stack))
    color = args.color or facts.active
    release = args.release or facts.colors[color].version
    if not release:
        raise UsageError(f"{color} is off in the config of {facts.stack}: deploy a release to it first")
    if args.private:
        if len(args.private) > 1:
            raise UsageError(f"--private {INSTANCES} means all of them: no further address is allowed")
        side = facts.fleet().colors[color]
        return _smoke_each(args, addresses_of(side, facts.session), release, facts.health_path)
    headers = facts.preview_headers(args.color) if args.color else {}
    return _smoke(args, facts.url, headers, release, facts.health_path)


def _smoke(args: SmokeArgs, url: str, headers: dict[str, str], release: str, health_path: str) -> list[CheckResult]:
    return smoke(
        url,
        headers=headers,
        expect_release=release,
        expect_color=args.color or "",
        health_path=health_path,
        deep=args.deep,
        require=args.require,
        paths=args.paths,
        deadline=args.deadline_s,
    )


def _smoke_each(
    args: SmokeArgs, addresses: Sequence[PrivateAddress], release: str, health_path: str
) -> list[CheckResult]:
    """Smoke tests of the addresses in turn, each with the entire deadline; a check's name begins with its address."""
    return [
        replace(result, name=f"{address} {result.name}")
        for address in addresses
        for result in _smoke(args, address.url, {}, release, health_path)
    ]


def read_paths(file: Path) -> tuple[PathCheck, ...]:
    """One check a line: path, optionally its expected status (200), optionally a text in the body."""
    checks = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        path, *rest = line.split(maxsplit=2) or [""]
        if not path or path.startswith("#"):
            continue
        status = rest[0] if rest else "200"
        if not path.startswith("/") or not status.isdigit() or not 100 <= int(status) <= 599:
            raise UsageError(f"{file}:{number}: {line!r}: must read `/path`, `/path 200` or `/path 200 some text`")
        checks.append(PathCheck(path=path, status=int(status), contains=rest[1] if len(rest) > 1 else ""))
    return tuple(checks)


cli = app()


@cli.command()
def main(
    stack: StackOption = "",
    color: Annotated[
        Color | None, typer.Option(help="Check this color through the preview header; default: the public endpoint.")
    ] = None,
    url: Annotated[str, typer.Option(help="Check this address; no stack is read.")] = "",
    private: Annotated[
        list[str] | None,
        typer.Option(
            help="Check this private address, ADDRESS[:PORT] (8080), as through the VPN; no stack is read. Or "
            "`instances`: every instance of the color. May be repeated."
        ),
    ] = None,
    release: Annotated[str, typer.Option(help="The release that must respond; default: the one in config.")] = "",
    require: Annotated[
        list[str] | None, typer.Option(help="A deep check that the app must have, e.g. database; may be repeated.")
    ] = None,
    paths: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File of further paths: `/path [status [text]]`.")
    ] = None,
    shallow: Annotated[bool, typer.Option("--shallow", help="Leave out the deep checks.")] = False,
    deadline: Annotated[float, seconds(help="Seconds within which everything must have passed.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Check over HTTP whether a release is ready for traffic; exit code 1 when it isn't."""
    display = Display(as_json=as_json)
    with exit_codes(display):
        args = SmokeArgs(
            stack=stack,
            url=url,
            private=tuple(private or ()),
            color=color,
            release=release,
            deep=not shallow,
            require=tuple(require or ()),
            paths=read_paths(paths) if paths else (),
            deadline_s=deadline,
        )
        with display.working(f"smoke test of {url or ', '.join(args.private) or color or 'the public endpoint'}"):
            results = run_smoke(args)
        show(display, results)
    if failures(results):
        raise typer.Exit(Exit.FAILED)


def show(display: Display, results: list[CheckResult]) -> None:
    display.result({"ok": failures(results) is None, "checks": [asdict(result) for result in results]})
    rows = [("ok" if one.ok else "FAILED", one.name, one.detail, f"{one.seconds:.2f} s") for one in results]
    display.table("smoke test", ("", "check", "found", "took"), rows)


if __name__ == "__main__":
    cli()
