"""ECR repositories and authorization tokens that lead to a registry which really stores images."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.ecr.models import Repository
from moto.ecr.responses import ECRResponse

from rehearsal.cloud.additions.gap import Facts, Gap
from rehearsal.cloud.additions.patching import put_into

GAPS = [
    Gap(
        service="ecr",
        action="CreateRepository, GetAuthorizationToken",
        reason="repositoryUri, proxyEndpoint and password are those of a real registry on this machine; "
        "DescribeImages and scanning know nothing of what is pushed there",
    ),
]

TOKEN_HOURS = 12  # as ECR's tokens

_init_plain = Repository.__init__
_authorize_plain = ECRResponse.get_authorization_token


def extend(facts: Facts) -> None:
    def remember_uri(self: Any, *args: Any, **kwargs: Any) -> None:
        _init_plain(self, *args, **kwargs)
        if facts.registry:
            self.uri = f"{facts.registry}/{self.name}"

    def get_authorization_token(self: Any) -> Any:
        return ActionResult({"authorizationData": [_token(facts)]}) if facts.registry else _authorize_plain(self)

    put_into(Repository, __init__=remember_uri)
    put_into(ECRResponse, get_authorization_token=get_authorization_token)


def _token(facts: Facts) -> dict[str, Any]:
    return {
        "authorizationToken": base64.b64encode(f"AWS:{facts.registry_password}".encode()).decode(),
        "expiresAt": datetime.now(UTC) + timedelta(hours=TOKEN_HOURS),
        "proxyEndpoint": f"https://{facts.registry}",
    }
