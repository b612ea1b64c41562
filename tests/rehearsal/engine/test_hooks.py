"""Resource hooks run around each step, and what they refuse is told in their own words."""

from __future__ import annotations

import pytest
from pulumi.automation.errors import CommandError

from .conftest import Traffic, Workshop

pytestmark = pytest.mark.usefixtures("warm")

HOOKED = """
import pathlib
log = pathlib.Path("log")
def hook(name, fails=False, dry=False):
    def call(args):
        with log.open("a") as file:
            old = (args.old_inputs or {{}}).get("description")
            new = (args.new_inputs or {{}}).get("description")
            print(name, args.name, old, new, bool(args.id), file=file)
        if fails:
            raise Exception(f"{{name}} says no")
    return pulumi.ResourceHook(name, call, pulumi.ResourceHookOptions(on_dry_run=dry))
binding = pulumi.ResourceHookBinding(
    before_create=[hook("bc")], after_create=[hook("ac")],
    before_update=[hook("bu", fails={before})], after_update=[hook("au", fails={after})],
    before_delete=[hook("bd")], after_delete=[hook("ad")])
t = aws.sns.Topic("alerts", display_name="{text}", opts=pulumi.ResourceOptions(hooks=binding))
"""


def calls(shop: Workshop) -> list[str]:
    path = shop.root / "log"
    found = [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def hooked(text: str, *, before: bool = False, after: bool = False) -> str:
    return HOOKED.format(text=text, before=before, after=after)


def recorded(shop: Workshop) -> str:
    deployment = shop.stack.export_stack().deployment
    assert deployment is not None
    return next(
        str(each["inputs"]["displayName"]) for each in deployment["resources"] if each["type"].startswith("aws:sns")
    )


def test_hooks_run_around_each_step(shop: Workshop) -> None:
    shop.up(hooked("one"))
    assert calls(shop) == ["bc", "ac"]
    assert shop.up() == {}
    assert calls(shop) == []
    shop.up(hooked("two"))
    assert calls(shop) == ["bu", "au"]
    shop.program(hooked("three")).stack.preview()
    assert calls(shop) == []


def test_delete_hooks_run_while_the_program_still_registers_them(shop: Workshop) -> None:
    shop.up(hooked("one"))
    calls(shop)
    kept = hooked("one").rpartition("t = aws")[0] + "for each in []: pass\n"
    shop.up(kept)
    assert calls(shop) == ["bd", "ad"]


def test_a_before_hook_that_refuses_leaves_everything_as_it_was(shop: Workshop, traffic: Traffic) -> None:
    shop.up(hooked("one"))
    traffic.actions.clear()
    with pytest.raises(CommandError) as caught:
        shop.up(hooked("two", before=True))
    assert 'before hook "bu" failed: bu says no' in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert traffic.writes() == []
    assert recorded(shop) == "one"
    assert shop.up(hooked("two")) == {"update": 1}


def test_an_after_hook_that_refuses_leaves_the_new_state(shop: Workshop) -> None:
    shop.up(hooked("one"))
    with pytest.raises(CommandError) as caught:
        shop.up(hooked("two", after=True))
    assert 'after hook "au" failed: au says no' in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert recorded(shop) == "two"
    assert shop.up(hooked("two")) == {}
