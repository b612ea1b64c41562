"""Instructions of the playground: commands to type, in order, printed after the start and shown on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ENV_FILE = "build/playground/env"
CONTRACT = "docs/app-contract.md"
BROKEN = "build/playground/broken"  # a copy of the sample with an unreachable database address


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A group of commands; each is one line, and works as printed after the previous ones."""

    title: str
    commands: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return {"title": self.title, "commands": list(self.commands)}


CHAPTERS = (
    Chapter(title="In another terminal, in this folder; playground_off leaves again", commands=(f"source {ENV_FILE}",)),
    Chapter(title="Look around", commands=("pulumi stack output", "./bluegreen status")),
    Chapter(
        title="Publish release v2 and deploy it to green, the idle color, which gets no traffic",
        commands=(
            "./bluegreen publish examples/hello --version v2",
            "./bluegreen deploy v2",
            "./bluegreen smoke-test --color green",
        ),
    ),
    Chapter(
        title="Cut over to green with plain Pulumi, which changes one resource",
        commands=(
            "pulumi config set activeColor green",
            "pulumi preview",
            "pulumi preview --policy-pack policy",
            "pulumi up",
        ),
    ),
    Chapter(
        title="Roll back to blue, and cut over again with the scripts, 10 % of the traffic first",
        commands=(
            "./bluegreen rollback",
            "./bluegreen canary 10",
            "./bluegreen cutover green",
        ),
    ),
    Chapter(
        title="Deploy a release with a wrong database address to blue, and see the gate refuse it",
        commands=(
            f"./bluegreen publish {BROKEN} --version v3",
            "./bluegreen deploy v3",
            "pulumi config set activeColor blue",
            "pulumi up",
            "pulumi config set activeColor green",
        ),
    ),
    Chapter(
        title="Break something (FAULT=list lists all faults)",
        commands=("make playground FAULT=instance", "make playground FAULT=database", "make playground FAULT=restore"),
    ),
    Chapter(title="End it, or press Ctrl-C here", commands=("make playground-stop",)),
)
REFUSED = ("pulumi up",)  # in the chapter with BROKEN, where exit code 255 is expected


def render(page: str, app: str, chapters: Sequence[Chapter] = CHAPTERS) -> str:
    return "\n".join(_lines(page, app, chapters))


def _lines(page: str, app: str, chapters: Sequence[Chapter]) -> Iterator[str]:
    yield f"  page  {page}"
    yield f"  app   {app}"
    for chapter in chapters:
        yield ""
        yield f"{chapter.title}:"
        yield from (f"    {command}" for command in chapter.commands)
    yield ""
    yield f"Publish a folder of your own in the same way; {CONTRACT} says what its app must do."
