"""Preloading of the emulator's services: one request to each, so that no timed request waits for imports."""

from __future__ import annotations

import logging
import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# A cheap read of every service that the program, the instances or the scripts use; the first call costs 60 to 500 ms.
READS = {
    "ec2": "describe_vpcs",
    "elbv2": "describe_load_balancers",
    "autoscaling": "describe_auto_scaling_groups",
    "iam": "list_roles",
    "s3": "list_buckets",
    "logs": "describe_log_groups",
    "sns": "list_topics",
    "ssm": "describe_parameters",
    "ecr": "describe_repositories",
    "cloudwatch": "list_metrics",
    "sts": "get_caller_identity",
}

log = logging.getLogger(__name__)


def start(url: str) -> threading.Thread:
    thread = threading.Thread(target=_request_all, args=(url,), name="preload", daemon=True)
    thread.start()
    return thread


def _request_all(url: str) -> None:
    create_client: Any = boto3.session.Session(
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",  # noqa: S106 - the emulator takes any
        region_name="us-east-1",
    ).client
    for service, read in READS.items():
        try:
            getattr(create_client(service, endpoint_url=url, config=Config(retries={"total_max_attempts": 1})), read)()
        except (BotoCoreError, ClientError) as error:
            log.warning("preload failed service=%s error=%s", service, error)  # it costs time later, no more
