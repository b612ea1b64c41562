"""AWS clients for a provider's settings; the endpoint can be the emulator's."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Mapping
from typing import Any

# boto3 has no types; a client's methods are known only at run time.
Client = Any

# Provider settings that pulumi-aws sends as JSON text.
_OBJECTS = frozenset({"defaultTags", "endpoints", "assumeRoles", "ignoreTags", "allowedAccountIds", "registryAuth"})

# Services whose endpoint setting has another name than boto3's client.
_ENDPOINTS = {"events": "cloudwatchevents", "logs": "cloudwatchlogs"}


def _is_true(value: Any) -> bool:
    return value is True or value == "true"


class AwsClients:
    """Region, default tags and boto3 clients of one provider; created on first use and shared by threads."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = {key: _parsed(key, value) for key, value in settings.items()}
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()

    def setting(self, key: str) -> Any:
        return self._settings.get(key)

    @property
    def default_tags(self) -> dict[str, str]:
        return dict((self._settings.get("defaultTags") or {}).get("tags") or {})

    @functools.cached_property
    def _session(self) -> Any:
        import boto3  # takes 0.1 s, which an unchanged program saves

        settings = self._settings
        return boto3.Session(
            aws_access_key_id=settings.get("accessKey"),
            aws_secret_access_key=settings.get("secretKey"),
            aws_session_token=settings.get("token"),
            profile_name=settings.get("profile"),
            region_name=settings.get("region") or os.environ.get("AWS_REGION"),  # boto3 reads AWS_DEFAULT_REGION only
        )

    @property
    def region(self) -> str:
        region = self._settings.get("region") or self._session.region_name
        if not region:
            raise ValueError("No AWS region: set aws:region in the stack's config, or AWS_REGION.")
        return str(region)

    @property
    def partition(self) -> str:
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        return next((name for prefix, name in prefixes.items() if self.region.startswith(prefix)), "aws")

    @functools.cached_property
    def account(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        return f"arn:{self.partition}:{service}:{self.region if region is None else region}:{self.account}:{resource}"

    def client(self, service: str) -> Client:
        with self._lock:  # creating clients is not thread-safe; using them is
            if service not in self._clients:
                self._clients[service] = self._create_client(service)
            return self._clients[service]

    def _create_client(self, service: str) -> Client:
        from botocore.config import Config

        style: Any = {"addressing_style": "path" if _is_true(self._settings.get("s3UsePathStyle")) else "auto"}
        config = Config(max_pool_connections=32, retries={"mode": "standard", "max_attempts": 4}, s3=style)
        endpoints = (self._settings.get("endpoints") or [{}])[0]
        endpoint = endpoints.get(service) or endpoints.get(_ENDPOINTS.get(service, service))
        return self._session.client(service, region_name=self.region, endpoint_url=endpoint, config=config)


def _parsed(key: str, value: Any) -> Any:
    return json.loads(value) if key in _OBJECTS and isinstance(value, str) and value else value
