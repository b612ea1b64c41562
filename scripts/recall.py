"""The checkout's config says what the stack's last update delivered: who has users, and which release each color holds.

Users that were moved since then, without Pulumi, stay where AWS has them.

Git holds what a person decides of an environment. What deliveries decide is in the stack's own state, so that neither
a laptop nor CI must commit after each; this brings it back into a fresh checkout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from checks.colors import Color
from checks.fleet import Fleet
from scripts.display import Display, exit_codes
from scripts.options import JsonOption, StackOption, app
from scripts.stacks import ColorConfig, Stack, StackFacts, open_stack, read_facts, set_color, set_value
from scripts.traffic import fleet_if_any, recorded


def recall(stack: Stack) -> dict[str, str]:
    """Write what differs into the stack's config; what was written, by key."""
    if "artifactsBucket" not in stack.outputs():
        return {}
    facts = read_facts(stack)
    written = dict(_choices(stack, facts, fleet_if_any(facts)))
    for color in Color:
        delivered = _delivered(facts.outputs["colors"][color], facts.colors[color])
        if delivered != facts.colors[color]:
            set_color(stack, color, delivered)
            written[color] = f"{delivered.release or 'off'} {delivered.ami}".strip()
    return written


def _choices(stack: Stack, facts: StackFacts, fleet: Fleet | None) -> Iterator[tuple[str, str]]:
    present = {"activeColor": str(facts.active), "canaryPercent": str(facts.canary_percent)}
    told = {key: str(facts.outputs[key]) for key in present}
    if fleet and fleet.serving and fleet.weights != recorded(facts):
        # Users were moved since that update, by a direct rollback mostly: no later one may move them back unasked.
        told = {"activeColor": str(fleet.serving), "canaryPercent": str(fleet.weights[fleet.serving.other])}
    for key, value in present.items():
        if told[key] != value:
            set_value(stack, key, told[key])
            yield key, told[key]


def _delivered(output: dict[str, Any], config: ColorConfig) -> ColorConfig:
    return ColorConfig(
        release=output["release"],
        release_url=output["releaseUrl"],
        sha256=output["sha256"],
        ami=output["amiId"],
        min_size=config.min_size,
    )


cli = app()


@cli.command()
def main(stack: StackOption = "dev", as_json: JsonOption = False) -> None:
    """Bring active color, canary and both colors' releases from the stack's last update into this checkout's config.

    The first thing to do with a fresh checkout. Everything else in the config stays as Git has it. After a direct
    rollback the active color is the one that AWS sends users to.
    """
    display = Display(as_json=as_json)
    with exit_codes(display):
        written = recall(open_stack(stack))
        display.result({"ok": True, "recalled": written})
        display.say(f"recalled: {', '.join(f'{key} {value}' for key, value in written.items()) or 'nothing differs'}")


if __name__ == "__main__":
    cli()
