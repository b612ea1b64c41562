"""A process that imports this has all that the engine and its programs import, and has read botocore's files."""

from __future__ import annotations

import functools
from typing import Any

import boto3
from botocore import session as botocore_session
from pulumi_aws import autoscaling, budgets, cloudwatch, ec2, ecr, iam, kinesis, kms, lb, route53, s3, sns, ssm, vpc

from rehearsal.engine import deployment, hooks, monitor, policies, process, refresh

ENGINE = (deployment, hooks, monitor, policies, process, refresh)
PROVIDER = (autoscaling, budgets, cloudwatch, ec2, ecr, iam, kinesis, kms, lb, route53, s3, sns, ssm, vpc)
SERVICES = ("autoscaling", "cloudwatch", "ec2", "elbv2", "iam", "kms", "logs", "s3", "sns", "ssm", "sts")

for module in PROVIDER:
    hasattr(module, "anything")  # pulumi_aws imports a module when something of it is first asked for
botocore_session.create_loader = functools.cache(botocore_session.create_loader)
session: Any = boto3.Session("id", "key", region_name="us-east-1")
for service in SERVICES:
    session.client(service)
