from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

from tests.declared import ROOT, stack_config

BLUE = {"release": "v1", "releaseUrl": "https://host/v1.tar.gz", "amiId": "ami-0123456789abcdef0"}
BARE = """
import pulumi, pulumi_random
from pulumi_aws import autoscaling, cloudwatch, ec2, iam, lb, s3, sns, vpc
# A module is loaded when it is first used.
autoscaling.Group, cloudwatch.LogGroup, ec2.Vpc, iam.Role, lb.Listener, s3.Bucket, sns.Topic
vpc.SecurityGroupIngressRule, pulumi_random.RandomPassword
"""
WHOLE = """
import json, os, runpy
from tests.declared import declare
declare(lambda: runpy.run_path("__main__.py", run_name="__main__"), config=json.loads(os.environ["CONFIG"]))
"""


def processor_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {
        "CONFIG": json.dumps(stack_config("dev", blue=BLUE, green=BLUE)),
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_program_takes_less_than_twice_the_bare_import() -> None:
    """By processor time, which a busy machine doesn't blur."""
    processor_seconds(BARE)  # compiles and caches
    bare, whole = processor_seconds(BARE), processor_seconds(WHOLE)
    assert whole < 2 * bare, f"{whole:.2f} s against {bare:.2f} s"
