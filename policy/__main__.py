"""Policy pack for the Pulumi CLI: every rule, mandatory."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the CLI runs the folder, but its modules are a package

from pulumi_policy import EnforcementLevel, PolicyPack

from policy.pack import policies

PolicyPack(name="bluegreen", enforcement_level=EnforcementLevel.MANDATORY, policies=policies())
