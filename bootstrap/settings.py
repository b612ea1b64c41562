"""The account's config, read once and checked whole: one frozen object, or one message that names every bad value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG

from bootstrap.subjects import Repository
from config_reader import EMAIL, EMAIL_ALLOWED, REGION, ConfigReader, refuse

NAMESPACE = "bluegreen-bootstrap"
LONGEST_PROJECT = 24  # "{project}-state-" begins a bucket's name: 37 characters, as the provider adds 26
LONGEST_STACK = 40
MOST_EMAILS = 10  # subscribers that AWS takes for one notification of a budget
MOST_USD = 1_000_000
LARGEST_ID = 10**15

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
# Neither : nor *: the one ends a part of a subject, the other would look like a pattern.
BRANCH = re.compile(r"[\w./-]{1,200}", re.ASCII)
ENVIRONMENT = re.compile(r"[\w.-]{1,200}", re.ASCII)
GITHUB_PROVIDER = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:oidc-provider/token\.actions\.githubusercontent\.com")
KEYS = (
    "project", "repository", "repositoryOwnerId", "repositoryId", "branch", "environments", "oidcProviderArn",
    "budgetLimit", "alertEmails", "protect",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that one account decides. The budget in USD a month, 0 for none."""

    stack: str
    region: str
    project: str
    repository: Repository
    branch: str
    environments: tuple[str, ...]
    oidc_provider_arn: str
    budget_limit: int
    alert_emails: tuple[str, ...]
    protect: bool


def load() -> Settings:
    """Read the stack's config through Pulumi. Raises SettingsError before any resource is registered."""
    config = pulumi.Config(NAMESPACE)
    # Config only answers for keys that one knows; a mistyped one would go unnoticed.
    given = [key.partition(":")[2] for key in CONFIG.get() if key.startswith(f"{NAMESPACE}:")]
    raw = {key: value for key in (*KEYS, *given) if (value := config.get(key)) is not None}
    return parse(raw, stack=pulumi.get_stack(), region=pulumi.Config("aws").get("region") or "")


def parse(raw: Mapping[str, Any], *, stack: str, region: str) -> Settings:
    """Check values by their config key: texts as Pulumi hands them over, JSON for lists."""
    reader = ConfigReader(raw)
    short = "a-z, 0-9, and single - inside, at most {}"
    settings = Settings(
        stack=reader.given("stack", stack, _named(LONGEST_STACK), short.format(LONGEST_STACK)),
        region=reader.given("aws:region", region, REGION, "a region, such as eu-central-1"),
        project=reader.text("project", "bluegreen", _named(LONGEST_PROJECT), short.format(LONGEST_PROJECT)),
        repository=_repository(reader),
        branch=reader.text("branch", "main", BRANCH, "the name of one branch"),
        environments=reader.texts(
            "environments", ("dev", "production"), _matches(ENVIRONMENT), "the name of a GitHub environment"
        ),
        oidc_provider_arn=reader.text(
            "oidcProviderArn", "", GITHUB_PROVIDER, "the ARN of an IAM provider for GitHub", empty=True
        ),
        budget_limit=reader.number("budgetLimit", 100, (0, MOST_USD)),
        alert_emails=reader.texts("alertEmails", (), _matches(EMAIL), EMAIL_ALLOWED),
        protect=reader.flag("protect", True),
    )
    reader.refuse_unknown()
    refuse(reader.problems + _together(settings, reader.bad))
    return settings


def _repository(reader: ConfigReader) -> Repository:
    owner, _, name = reader.text("repository", "", REPOSITORY, "owner/name of a GitHub repository").partition("/")
    owner_id = reader.number("repositoryOwnerId", 0, (0, LARGEST_ID))
    return Repository(owner=owner, name=name, owner_id=owner_id, id=reader.number("repositoryId", 0, (0, LARGEST_ID)))


def _together(settings: Settings, bad: set[str]) -> list[str]:
    """What is wrong between values that are each allowed; those already told are left out."""
    rules = {
        _id_problems: {"repositoryOwnerId", "repositoryId"},
        _environment_problems: {"environments"},
        _alert_problems: {"alertEmails", "budgetLimit"},
    }
    return [problem for rule, needs in rules.items() if not needs & bad for problem in rule(settings)]


def _id_problems(settings: Settings) -> list[str]:
    ids = {"repositoryOwnerId": settings.repository.owner_id, "repositoryId": settings.repository.id}
    if all(ids.values()) or not any(ids.values()):
        return []
    missing, given = sorted(ids, key=lambda key: ids[key])
    return [f"{given}: {ids[given]}: allowed only together with {missing}, a subject holds both"]


def _environment_problems(settings: Settings) -> list[str]:
    return [] if settings.environments else ["environments: []: allowed is at least one, else nobody may deploy"]


def _alert_problems(settings: Settings) -> list[str]:
    found = len(settings.alert_emails)
    if settings.budget_limit and not found:
        return [f"alertEmails: []: allowed is at least one address while budgetLimit is {settings.budget_limit}"]
    if found > MOST_EMAILS:
        return [f"alertEmails: {found} addresses: allowed are at most {MOST_EMAILS}"]
    return []


def _named(longest: int) -> re.Pattern[str]:
    return re.compile(rf"(?=.{{1,{longest}}}$){NAME.pattern}")


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: bool(pattern.fullmatch(text))
