"""Packer stub: accepts Packer's command lines, validates them with ami/, and registers an image.

Packer itself needs an instance with SSH. tests/ami checks that it can read the template.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import boto3
import hcl2

AMI_NAME = re.compile(r'^  ami_name\s*= "(.+?)\$\{', re.MULTILINE)
COMMIT = re.compile(r"[0-9a-f]{40}")


def variables(folder: Path, assignments: list[str]) -> dict[str, str]:
    """Values of a build's variables. Exits, as Packer does, for one that is not declared or missing."""
    with (folder / "variables.pkr.hcl").open() as file:
        # Newer versions of the parser keep strings' quotes.
        declared = {name.strip('"'): each for blocks in hcl2.load(file)["variable"] for name, each in blocks.items()}
    values = dict(each.split("=", 1) for each in assignments)
    if unknown := values.keys() - declared.keys():
        sys.exit(f"{folder} declares no variable {', '.join(sorted(unknown))}")
    needed = {name for name, each in declared.items() if "default" not in each}
    if missing := needed - values.keys():
        sys.exit(f"{folder} needs the variable {', '.join(sorted(missing))}")
    return values


def build(folder: Path, assignments: list[str]) -> str:
    values = variables(folder, assignments)
    if not COMMIT.fullmatch(values["git_commit"]):
        sys.exit(f"git_commit {values['git_commit']!r} is no commit")
    named = AMI_NAME.findall((folder / "source.pkr.hcl").read_text())
    if len(named) != 1:
        sys.exit(f"{folder} does not name its image")
    name = f"{named[0]}{datetime.now(UTC):%Y%m%d-%H%M%S}"
    ec2 = boto3.client("ec2", region_name=values["region"])
    return str(ec2.register_image(Name=name, RootDeviceName="/dev/xvda")["ImageId"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="packer", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("init", "build"):
        commands.add_parser(command, allow_abbrev=False).add_argument("folder", type=Path)
    commands.choices["build"].add_argument("-var", dest="assignments", action="append", default=[])
    arguments = parser.parse_args()
    if not (arguments.folder / "plugins.pkr.hcl").is_file():
        sys.exit(f"{arguments.folder} holds no template")
    if arguments.command == "build":
        print(build(arguments.folder, arguments.assignments))  # noqa: T201


if __name__ == "__main__":
    main()
