from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest
import yaml

from bootstrap import settings as program_settings
from bootstrap.settings import AccountSettings, load, parse
from bootstrap.subjects import Repository
from config.errors import SettingsError
from tests.declared import ROOT, Declaration, declare

REGION = "eu-central-1"
GOOD: dict[str, Any] = {"repository": "Acme/shop", "alertEmails": ["ops@example.org"]}
DECLARED: dict[str, Any] = {
    key: value
    for key, value in yaml.safe_load((ROOT / "bootstrap" / "Pulumi.yaml").read_text())["config"].items()
    if ":" not in key
}
EMAILS = [f"ops{number}@example.org" for number in range(11)]
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"


def read(stack: str = "account", region: str = REGION, **raw: Any) -> AccountSettings:
    config = {f"bluegreen-bootstrap:{key}": value for key, value in (GOOD | raw).items()}
    return parse(stack, {"aws:region": region, **config})


def problems(stack: str = "account", region: str = REGION, **raw: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(stack, region, **raw)
    headline, *lines = str(caught.value).splitlines()
    assert headline == "The stack's config can't be used:"
    return [line.strip() for line in lines]


def test_repository_and_address_are_all_that_must_be_given() -> None:
    assert read() == AccountSettings(
        stack="account",
        region=REGION,
        project="bluegreen",
        repository_name="Acme/shop",
        branch="main",
        environments=("dev", "production"),
        oidc_provider_arn="",
        budget_limit=100,
        alert_emails=("ops@example.org",),
        protect=True,
    )


def test_the_projects_defaults_are_the_programs() -> None:
    defaults = {key: value["default"] for key, value in DECLARED.items()}
    assert read(**(defaults | GOOD)) == read()


def test_every_key_is_declared_with_type_default_and_description_and_read() -> None:
    assert {*DECLARED, "stack", "aws:region"} == set(AccountSettings.config_keys())
    for key, value in DECLARED.items():
        assert {"type", "default", "description"} <= value.keys(), key
        assert value["description"].endswith("."), key


def test_values_come_as_pulumi_hands_them_over() -> None:
    settings = read(
        repositoryOwnerId="7",
        repositoryId="123456789012",
        environments=json.dumps(["live"]),
        budgetLimit="0",
        alertEmails="[]",
        protect="false",
        oidcProviderArn=PROVIDER,
    )
    assert settings.repository == Repository(owner="Acme", name="shop", owner_id=7, id=123456789012)
    assert (settings.environments, settings.budget_limit, settings.alert_emails) == (("live",), 0, ())
    assert (settings.protect, settings.oidc_provider_arn) == (False, PROVIDER)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"repository": ""}, "repository: (not set): allowed is owner/name of a GitHub repository"),
    ({"repository": "shop"}, "repository: shop: allowed is owner/name of a GitHub repository"),
    ({"repository": "Acme/*"}, "repository: Acme/*: allowed is owner/name of a GitHub repository"),
    ({"repository": "Acme/shop:x"}, "repository: Acme/shop:x: allowed is owner/name of a GitHub repository"),
    (
        {"repositoryOwnerId": 7},
        "repositoryOwnerId: 7: allowed only together with repositoryId, a subject contains both",
    ),
    (
        {"repositoryId": 8},
        "repositoryId: 8: allowed only together with repositoryOwnerId, a subject contains both",
    ),
    ({"repositoryId": -1}, "repositoryId: -1: allowed is a whole number from 0 to 1000000000000000"),
    ({"repositoryOwnerId": "acme"}, "repositoryOwnerId: acme: allowed is a whole number from 0 to 1000000000000000"),
    ({"branch": ""}, "branch: (not set): allowed is the name of one branch"),
    ({"branch": "*"}, "branch: *: allowed is the name of one branch"),
    ({"environments": []}, "environments: []: allowed is at least one, else nobody may deploy"),
    ({"environments": "dev"}, "environments: dev: allowed is a list, each entry the name of a GitHub environment"),
    ({"environments": ["*"]}, "environments: *: allowed is the name of a GitHub environment"),
    ({"environments": ["a", "a"]}, "environments: a: allowed is the name of a GitHub environment, each only once"),
    ({"project": "Shop"}, "project: Shop: allowed is a-z, 0-9, and single - inside, at most 24"),
    ({"project": "a" * 25}, f"project: {'a' * 25}: allowed is a-z, 0-9, and single - inside, at most 24"),
    (
        {"oidcProviderArn": PROVIDER.replace("token.actions.githubusercontent.com", "accounts.google.com")},
        "oidcProviderArn: arn:aws:iam::123456789012:oidc-provider/accounts.google.com: "
        "allowed is the ARN of an IAM provider for GitHub, or empty",
    ),
    ({"budgetLimit": "12.50"}, "budgetLimit: 12.50: allowed is a whole number from 0 to 1000000"),
    ({"alertEmails": []}, "alertEmails: []: allowed is at least one address while budgetLimit is 100"),
    ({"alertEmails": ["ops"]}, "alertEmails: ops: allowed is an e-mail address alone, as ops@example.org"),
    ({"alertEmails": EMAILS}, "alertEmails: 11 addresses: allowed are at most 10"),
    ({"protect": "no"}, "protect: no: allowed is true or false"),
    ({"stack": "Account"}, "stack: Account: allowed is a-z, 0-9, and single - inside, at most 40"),
    ({"region": ""}, "aws:region: (not set): allowed is a region, such as eu-central-1"),
]


@pytest.mark.parametrize(("changes", "told"), BAD, ids=lambda value: next(iter(value)) if value else "")
def test_a_bad_value_is_told_with_what_is_allowed(changes: dict[str, Any], told: str) -> None:
    assert problems(**changes) == [told]


def test_a_mistyped_key_is_told() -> None:
    assert problems(repositry="Acme/shop") == ["repositry: Acme/shop: there is no such key; did you mean repository?"]
    (told,) = problems(shop="Acme/shop")
    assert told.startswith("shop: Acme/shop: there is no such key; allowed are alertEmails, branch,")


def test_all_bad_values_are_told_at_once() -> None:
    assert [told.partition(":")[0] for told in problems(region="here", repository="x", budgetLimit=-1, protect=3)] == [
        "aws",
        "repository",
        "budgetLimit",
        "protect",
    ]


def test_the_program_reads_its_own_namespace_and_nobody_else_reads_config() -> None:
    found: list[AccountSettings] = []
    config = {f"bluegreen-bootstrap:{key}": json.dumps(value) for key, value in GOOD.items()}
    config["bluegreen-bootstrap:repository"] = GOOD["repository"]
    declare(lambda: found.append(load()), stack="account", config=config | {"aws:region": REGION})
    assert found == [read()]
    sources = (ROOT / "bootstrap").glob("*.py")
    readers = [path.name for path in sources if "runtime.config" in path.read_text()]
    assert readers == ["settings.py"]


def test_a_mistyped_key_in_the_stacks_file_reaches_the_check() -> None:
    config = {"bluegreen-bootstrap:repo": "Acme/shop", "aws:region": REGION}
    with pytest.raises(pulumi.RunError, match="repo: Acme/shop: there is no such key"):
        declare(load, stack="account", config=config, into=Declaration())


def test_the_projects_name_is_the_one_that_policies_leave_alone() -> None:
    from bootstrap.ci_policies import OWN_PROJECT

    name = yaml.safe_load((ROOT / "bootstrap" / "Pulumi.yaml").read_text())["name"]
    assert name == program_settings.NAMESPACE == OWN_PROJECT
