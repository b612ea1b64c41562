"""Takes Packer's command lines as `packer` would, holds them against ami/, and registers an image in its place.

Packer itself needs an instance that answers SSH. That it can read the template, tests/ami looks at.
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


def variables(folder: Path, given: list[str]) -> dict[str, str]:
    """Of a build, by name. One that isn't declared, or is missing, ends the process, as it ends Packer."""
    with (folder / "variables.pkr.hcl").open() as file:
        # Newer versions of the parser keep strings' quotes.
        declared = {name.strip('"'): each for found in hcl2.load(file)["variable"] for name, each in found.items()}
    values = dict(each.split("=", 1) for each in given)
    if unknown := values.keys() - declared.keys():
        sys.exit(f"{folder} declares no variable {', '.join(sorted(unknown))}")
    needed = {name for name, each in declared.items() if "default" not in each}
    if missing := needed - values.keys():
        sys.exit(f"{folder} needs the variable {', '.join(sorted(missing))}")
    return values


def build(folder: Path, given: list[str]) -> str:
    values = variables(folder, given)
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
    commands.choices["build"].add_argument("-var", dest="given", action="append", default=[])
    asked = parser.parse_args()
    if not (asked.folder / "plugins.pkr.hcl").is_file():
        sys.exit(f"{asked.folder} holds no template")
    if asked.command == "build":
        print(build(asked.folder, asked.given))  # noqa: T201


if __name__ == "__main__":
    main()
