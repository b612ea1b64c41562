"""GitHub's REST API, as far as the workflows need it: the comments of a pull request."""

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
    """GitHub can't be reached or refuses a request; the message has its response."""


@dataclass(frozen=True, kw_only=True)
class GitHub:
    """A repository, accessed with a token."""

    repository: str
    token: str
    api: str = PUBLIC_API

    @classmethod
    def from_environment(cls) -> GitHub:
        """From the variables of a workflow's step, and its token."""
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
            response = self._request("GET", url)
            yield from response.json()
            url = response.links.get("next", {}).get("url", "")

    def create_comment(self, number: int, body: str) -> str:
        url = f"{self.api}/repos/{self.repository}/issues/{number}/comments"
        return str(self._request("POST", url, {"body": body}).json()["html_url"])

    def update_comment(self, comment: int, body: str) -> str:
        url = f"{self.api}/repos/{self.repository}/issues/comments/{comment}"
        return str(self._request("PATCH", url, {"body": body}).json()["html_url"])

    def _request(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        import requests

        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "X-GitHub-Api-Version": API_VERSION,
        }
        path = url.removeprefix(self.api)
        try:
            response = requests.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise GitHubError(f"{method} {path}: {self.api} can't be reached: {error}") from error
        if not response.ok:
            raise GitHubError(f"{method} {path}: GitHub answered {response.status_code}: {_message(response)}")
        return response


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason or "nothing else"
