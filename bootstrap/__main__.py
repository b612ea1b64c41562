"""Bootstrap of one AWS account: state bucket and key, CI roles, and a budget alert."""

import sys
from pathlib import Path

import pulumi

# Pulumi puts this folder on the path; the packages are in its parent.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bootstrap import composition as compose
from bootstrap import settings as config
from bootstrap.boundary import Boundary
from bootstrap.ci_role import CiRole
from bootstrap.github_identity import GithubIdentity
from bootstrap.state_bucket import StateBucket
from bootstrap.state_key import StateKey

settings = config.load()
account = compose.account(settings)

key = StateKey("state", compose.state_key(settings, account))
bucket = StateBucket("state", compose.state_bucket(settings, key))
backend = compose.backend(key, bucket)

github = GithubIdentity("github", compose.github(settings))
boundary = Boundary("boundary", compose.boundary(settings, account, backend))
preview = CiRole("preview", compose.preview_role(settings, account, backend, github))
deploy = CiRole("deploy", compose.deploy_role(settings, account, backend, github, boundary))
compose.spending_alert(settings)

for name, value in compose.outputs(settings, key, bucket, boundary, preview, deploy).items():
    pulumi.export(name, value)
