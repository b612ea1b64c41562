"""Settings of an account: its Pulumi config, parsed and validated, or one message that names every bad value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field

from bootstrap.subjects import Repository
from config.errors import SettingsError, refuse
from config.reader import Reader, own_keys
from config.values import Emails, Entries, Flag, Model, Region, Text, WholeNumber

NAMESPACE = "bluegreen-bootstrap"
MAX_PROJECT = 24  # "{project}-state-" begins a bucket's name: 37 characters, as the provider adds 26
MAX_STACK = 40
MAX_EMAILS = 10  # AWS's maximum of subscribers per budget notification
MAX_USD = 1_000_000
MAX_ID = 10**15

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
# Neither : nor *: one separates the parts of a subject, the other would look like a pattern.
BRANCH = re.compile(r"[\w./-]{1,200}", re.ASCII)
ENVIRONMENT = re.compile(r"[\w.-]{1,200}", re.ASCII)
GITHUB_PROVIDER = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:oidc-provider/token\.actions\.githubusercontent\.com")


def _name(max_length: int) -> Text:
    return Text(
        re.compile(rf"(?=.{{1,{max_length}}}$){NAME.pattern}"), f"a-z, 0-9, and single - inside, at most {max_length}"
    )


class AccountSettings(Model):
    """All settings of one account. `budget_limit` in USD a month, 0 for none."""

    stack: Annotated[str, _name(MAX_STACK)] = ""
    region: Region = Field(default="", validation_alias="aws:region")
    project: Annotated[str, _name(MAX_PROJECT)] = "bluegreen"
    repository_name: Annotated[str, Text(REPOSITORY, "owner/name of a GitHub repository")] = Field(
        default="", validation_alias="repository"
    )
    repository_owner_id: Annotated[int, WholeNumber(0, MAX_ID)] = 0
    repository_id: Annotated[int, WholeNumber(0, MAX_ID)] = 0
    branch: Annotated[str, Text(BRANCH, "the name of one branch")] = "main"
    environments: Annotated[tuple[str, ...], Entries(Text(ENVIRONMENT, "the name of a GitHub environment"))] = (
        "dev",
        "production",
    )
    oidc_provider_arn: Annotated[str, Text(GITHUB_PROVIDER, "the ARN of an IAM provider for GitHub", optional=True)] = (
        ""
    )
    budget_limit: Annotated[int, WholeNumber(0, MAX_USD)] = 100
    alert_emails: Emails = ()
    protect: Flag = True

    @property
    def repository(self) -> Repository:
        owner, _, name = self.repository_name.partition("/")
        return Repository(owner=owner, name=name, owner_id=self.repository_owner_id, id=self.repository_id)


def load() -> AccountSettings:
    """The settings of the program that Pulumi runs. Raises RunError, which names every bad value."""
    import pulumi  # half a second, which a command that only reads config need not pay
    from pulumi.runtime.config import CONFIG

    try:
        return parse(pulumi.get_stack(), CONFIG.get())
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def parse(stack: str, config: Mapping[str, Any]) -> AccountSettings:
    """Parse a stack's entire config, by full keys, as `config.settings.parse` does for the main program."""
    reader = Reader(own_keys(NAMESPACE, config))
    settings = reader.section(AccountSettings, {"stack": stack, "aws:region": config.get("aws:region", "")})
    reader.refuse_unknown()
    for rule, needs in _CROSS_CHECKS.items():
        reader.add(rule(settings), needs)
    refuse(reader.problems)
    return settings


def _repository_problems(settings: AccountSettings) -> list[str]:
    if settings.repository_name:
        return []
    return ["repository: (not set): allowed is owner/name of a GitHub repository"]


def _id_problems(settings: AccountSettings) -> list[str]:
    ids = {"repositoryOwnerId": settings.repository_owner_id, "repositoryId": settings.repository_id}
    if all(ids.values()) or not any(ids.values()):
        return []
    missing, present = sorted(ids, key=lambda key: ids[key])
    return [f"{present}: {ids[present]}: allowed only together with {missing}, a subject contains both"]


def _environment_problems(settings: AccountSettings) -> list[str]:
    return [] if settings.environments else ["environments: []: allowed is at least one, else nobody may deploy"]


def _alert_problems(settings: AccountSettings) -> list[str]:
    count = len(settings.alert_emails)
    if settings.budget_limit and not count:
        return [f"alertEmails: []: allowed is at least one address while budgetLimit is {settings.budget_limit}"]
    if count > MAX_EMAILS:
        return [f"alertEmails: {count} addresses: allowed are at most {MAX_EMAILS}"]
    return []


# Checks of combinations of values, and the keys that they need.
_CROSS_CHECKS: Mapping[Callable[[AccountSettings], list[str]], set[str]] = {
    _repository_problems: {"repository"},
    _id_problems: {"repositoryOwnerId", "repositoryId"},
    _environment_problems: {"environments"},
    _alert_problems: {"alertEmails", "budgetLimit"},
}
