"""Users are back on the color that served before after this ran: a cutover to the release that is still there."""

from __future__ import annotations

from scripts.cutover import CutoverArgs, run_cli
from scripts.display import Display
from scripts.options import AcceptBreakingOption, BreakLockOption, JsonOption, ReasonOption, StackOption, app

cli = app()


@cli.command()
def main(
    stack: StackOption = "dev",
    reason: ReasonOption = "",
    accept_breaking_migration: AcceptBreakingOption = False,
    break_lock: BreakLockOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go back to the other color, which still holds the previous release.

    The same steps as a cutover: the other color is judged and switched on first, and only then the present one off.
    Refused when the other color is off or ill, or when a newer release's migration breaks the older one.
    """
    args = CutoverArgs(
        action="rollback",
        break_lock=break_lock,
        accept_breaking_migration=accept_breaking_migration,
        reason=reason,
    )
    run_cli(stack, args, Display(as_json=as_json))


if __name__ == "__main__":
    cli()
