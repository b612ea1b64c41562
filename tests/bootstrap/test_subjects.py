from __future__ import annotations

from bootstrap import subjects
from bootstrap.subjects import Repository

NAMED = Repository(owner="Acme", name="shop")
NUMBERED = Repository(owner="Acme", name="shop", owner_id=7, id=1234567890)


def test_previews_come_from_pull_requests_and_the_branch() -> None:
    assert subjects.preview_subjects(NAMED, "main") == [
        "repo:Acme/shop:pull_request",
        "repo:Acme/shop:ref:refs/heads/main",
    ]


def test_deploys_come_from_environments_only() -> None:
    assert subjects.deploy_subjects(NAMED, ["dev", "production"]) == [
        "repo:Acme/shop:environment:dev",
        "repo:Acme/shop:environment:production",
    ]


def test_with_numbers_both_forms_are_known() -> None:
    assert subjects.preview_subjects(NUMBERED, "main") == [
        "repo:Acme/shop:pull_request",
        "repo:Acme/shop:ref:refs/heads/main",
        "repo:Acme@7/shop@1234567890:pull_request",
        "repo:Acme@7/shop@1234567890:ref:refs/heads/main",
    ]


def test_one_number_alone_makes_no_second_form() -> None:
    assert Repository(owner="Acme", name="shop", id=5).names == Repository(owner="Acme", name="shop").names
