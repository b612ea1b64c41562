"""Program overhead: the program under the SDK's mocks, against the bare import of the modules that it uses."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from statistics import median

from benchmarks.figures import Figure
from tests.declared import ROOT, stack_config

LIMIT = 2.0
ROUNDS = 5
BLUE = {"release": "v1", "releaseUrl": "https://host/v1.tar.gz", "amiId": "ami-0123456789abcdef0"}
BARE = """
import pulumi
from pulumi_aws import autoscaling, cloudwatch, ec2, iam, kms, lb, s3, sns, ssm, vpc
# A module is loaded when it is first used.
autoscaling.Group, cloudwatch.LogGroup, ec2.Vpc, iam.Role, kms.Key, lb.Listener, s3.Bucket, sns.Topic
ssm.Parameter, vpc.SecurityGroupIngressRule
"""
PROGRAM = """
import json, os, runpy
from tests.declared import declare
declare(lambda: runpy.run_path("__main__.py", run_name="__main__"), config=json.loads(os.environ["CONFIG"]))
"""


def measure() -> Figure:
    """By processor time, which depends little on other load; alternating, so that load affects both."""
    for code in (BARE, PROGRAM):
        processor_seconds(code)  # compiles and caches
    pairs = [(processor_seconds(BARE), processor_seconds(PROGRAM)) for _ in range(ROUNDS)]
    bare, program = (median(values) for values in zip(*pairs, strict=True))
    return Figure(
        name="program / bare import, processor time",
        value=round(program / bare, 3),
        unit="x",
        limit=LIMIT,
        parts={"program_s": round(program, 3), "import_s": round(bare, 3), "rounds": ROUNDS},
    )


def processor_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {
        "CONFIG": json.dumps(stack_config("dev", blue=BLUE, green=BLUE)),
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
