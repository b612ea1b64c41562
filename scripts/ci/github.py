"""The few things that the workflows ask of GitHub's REST API: the comments of a pull request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scripts.cli.exits import ScriptError, UsageError

if TYPE_CHECKING:
    import requests

PUBLIC_API = "https://api.github.com"
API_VERSION = "2022-11-28"
TIMEOUT_S = 20.0
PAGE = 100


class GitHubError(ScriptError):
    """GitHub can't be reached, or said no; the message holds its own words."""


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """One repository, as whoever holds the token may see and change it."""

    repository: str
    token: str
    api: str = PUBLIC_API

    @classmethod
    def from_environment(cls) -> GitHub:
        """From the variables that each step of a workflow has, and the token that it was given."""
        missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not os.environ.get(name)]
        if missing:
            raise UsageError(
                f"{' and '.join(missing)} not set: the repository as owner/name, and a token that may write comments"
            )
        api = os.environ.get("GITHUB_API_URL") or PUBLIC_API
        return cls(repository=os.environ["GITHUB_REPOSITORY"], token=os.environ["GITHUB_TOKEN"], api=api.rstrip("/"))

    def comments(self, number: int) -> Iterator[Mapping[str, Any]]:
        """The comments of an issue or a pull request, the oldest first, page by page."""
        url = f"{self.api}/repos/{self.repository}/issues/{number}/comments?per_page={PAGE}"
        while url:
            answer = self._ask("GET", url)
            yield from answer.json()
            url = answer.links.get("next", {}).get("url", "")

    def create_comment(self, number: int, body: str) -> str:
        url = f"{self.api}/repos/{self.repository}/issues/{number}/comments"
        return str(self._ask("POST", url, {"body": body}).json()["html_url"])

    def update_comment(self, comment: int, body: str) -> str:
        url = f"{self.api}/repos/{self.repository}/issues/comments/{comment}"
        return str(self._ask("PATCH", url, {"body": body}).json()["html_url"])

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        import requests

        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "X-GitHub-Api-Version": API_VERSION,
        }
        path = url.removeprefix(self.api)
        try:
            answer = requests.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise GitHubError(f"{method} {path}: {self.api} can't be reached: {error}") from error
        if not answer.ok:
            raise GitHubError(f"{method} {path}: GitHub answered {answer.status_code}: {_words(answer)}")
        return answer


def _words(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason or "nothing else"
