"""OIDC subjects of a repository's GitHub Actions jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"  # as aws-actions/configure-aws-credentials requests it


@dataclass(frozen=True, kw_only=True)
class Repository:
    """`owner_id` and `id` are GitHub's numbers, 0 where they are not known."""

    owner: str
    name: str
    owner_id: int = 0
    id: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Prefixes of the subjects. Repositories since 15 July 2026 have the numbers, older ones may be migrated.

        Each repository uses one of the two forms; with both in a policy, a migration locks nobody out.
        """
        plain = f"repo:{self.owner}/{self.name}"
        if not (self.owner_id and self.id):
            return (plain,)
        return (plain, f"repo:{self.owner}@{self.owner_id}/{self.name}@{self.id}")


def preview_subjects(repository: Repository, branch: str) -> list[str]:
    """Pull requests from the repository itself (GitHub gives forks no token), and jobs on the branch."""
    return _subjects(repository, ["pull_request", f"ref:refs/heads/{branch}"])


def deploy_subjects(repository: Repository, environments: Sequence[str]) -> list[str]:
    """Jobs of a GitHub environment, whose rules define approvers and branches."""
    return _subjects(repository, [f"environment:{name}" for name in environments])


def _subjects(repository: Repository, jobs: Sequence[str]) -> list[str]:
    return [f"{name}:{job}" for name in repository.names for job in jobs]
