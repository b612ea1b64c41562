from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.ci.github import GitHub, GitHubError
from scripts.cli.exits import Exit, UsageError
from scripts.comment import CUT, MAX_COMMENT, cli, content, put_comment
from tests.github import REPOSITORY, TOKEN, GitHubServer, github_server

PULL = 7


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with github_server() as server:
        yield server


@pytest.fixture
def github(server: GitHubServer) -> GitHub:
    return GitHub(repository=REPOSITORY, token=TOKEN, api=server.url)


def test_the_first_report_makes_a_comment_and_the_next_one_replaces_it(github: GitHub, server: GitHubServer) -> None:
    assert put_comment(github, PULL, "preview-dev", "first")[1] is True
    assert put_comment(github, PULL, "preview-dev", "second")[1] is False
    assert server.bodies(PULL) == ["<!-- bluegreen:preview-dev -->\nsecond"]


def test_each_marker_has_a_comment_of_its_own(github: GitHub, server: GitHubServer) -> None:
    for marker in ("preview-dev", "preview-prod", "preview-dev"):
        put_comment(github, PULL, marker, f"of {marker}")
    assert server.bodies(PULL) == [
        "<!-- bluegreen:preview-dev -->\nof preview-dev",
        "<!-- bluegreen:preview-prod -->\nof preview-prod",
    ]


def test_a_comment_on_a_later_page_is_found(github: GitHub, server: GitHubServer) -> None:
    server.most = 3
    for number in range(7):
        server.add(PULL, f"remark {number}")
    ours = server.add(PULL, content("preview-dev", "old"))
    put_comment(github, PULL, "preview-dev", "new")
    assert server.comments[ours]["body"] == content("preview-dev", "new")
    assert [request.split()[0] for request in server.requests] == ["GET", "GET", "GET", "PATCH"]


def test_who_quotes_the_comment_is_not_overwritten(github: GitHub, server: GitHubServer) -> None:
    quoted = f"> {content('preview-dev', 'old')}"
    server.add(PULL, quoted)
    put_comment(github, PULL, "preview-dev", "new")
    assert server.bodies(PULL) == [quoted, content("preview-dev", "new")]


def test_what_is_too_long_is_cut_with_a_note_to_what_github_takes(github: GitHub, server: GitHubServer) -> None:
    put_comment(github, PULL, "preview-dev", "x" * (MAX_COMMENT + 1))
    [body] = server.bodies(PULL)
    assert len(body) == MAX_COMMENT
    assert body.startswith("<!-- bluegreen:preview-dev -->\nxxx")
    assert body.endswith(CUT)


def test_the_longest_that_github_takes_is_not_cut() -> None:
    body = "x" * (MAX_COMMENT - len(content("preview-dev", "")))
    assert content("preview-dev", body).endswith("x")
    assert content("preview-dev", body + "x").endswith(CUT)


def test_a_wrong_token_and_a_missing_pull_request_are_told_in_githubs_words(server: GitHubServer) -> None:
    stranger = GitHub(repository=REPOSITORY, token="wrong", api=server.url)
    with pytest.raises(GitHubError, match=r"GET /repos/acme/shop/issues/7/.*: GitHub answered 401: Bad credentials"):
        put_comment(stranger, PULL, "preview-dev", "text")
    known = GitHub(repository=REPOSITORY, token=TOKEN, api=server.url)
    with pytest.raises(GitHubError, match="GitHub answered 404: Not Found"):
        put_comment(known, 8, "preview-dev", "text")


def test_a_github_that_is_away_is_named() -> None:
    with pytest.raises(GitHubError, match=r"http://127\.0\.0\.1:1 can't be reached"):
        put_comment(GitHub(repository=REPOSITORY, token=TOKEN, api="http://127.0.0.1:1"), PULL, "m", "text")


@pytest.mark.parametrize("marker", ["", "a b", "-->", "-x"])
def test_a_marker_that_could_end_the_tag_is_refused(marker: str) -> None:
    with pytest.raises(UsageError, match=r"marker .*: must match"):
        content(marker, "text")


def test_the_command_reads_what_a_workflow_gives(
    server: GitHubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("the page")
    words = ["--pull-request", str(PULL), "--marker", "preview-prod", "--body-file", str(page)]
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code == Exit.USAGE
    assert "GITHUB_REPOSITORY and GITHUB_TOKEN not set" in refused.stderr
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, server.bodies(PULL)) == (Exit.OK, ["<!-- bluegreen:preview-prod -->\nthe page"])
