"""ECR repositories and authorization tokens for a registry on this host."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.ecr.models import Repository
from moto.ecr.responses import ECRResponse

from rehearsal.cloud.additions.gap import EmulatorContext, Gap
from rehearsal.cloud.additions.patching import replace_methods

GAPS = [
    Gap(
        service="ecr",
        action="CreateRepository, GetAuthorizationToken",
        reason="repositoryUri, proxyEndpoint and password are those of a registry on this host; DescribeImages and "
        "scanning don't see the images in it",
    ),
]

TOKEN_HOURS = 12  # as ECR's tokens

_init_plain = Repository.__init__
_authorize_plain = ECRResponse.get_authorization_token


def extend(context: EmulatorContext) -> None:
    def init_with_uri(self: Any, *args: Any, **kwargs: Any) -> None:
        _init_plain(self, *args, **kwargs)
        if context.registry:
            self.uri = f"{context.registry}/{self.name}"

    def get_authorization_token(self: Any) -> Any:
        return ActionResult({"authorizationData": [_token(context)]}) if context.registry else _authorize_plain(self)

    replace_methods(Repository, __init__=init_with_uri)
    replace_methods(ECRResponse, get_authorization_token=get_authorization_token)


def _token(context: EmulatorContext) -> dict[str, Any]:
    return {
        "authorizationToken": base64.b64encode(f"AWS:{context.registry_password}".encode()).decode(),
        "expiresAt": datetime.now(UTC) + timedelta(hours=TOKEN_HOURS),
        "proxyEndpoint": f"https://{context.registry}",
    }
