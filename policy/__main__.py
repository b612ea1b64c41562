"""The policy pack: each rule, mandatory, as the Pulumi CLI wants it."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the CLI runs the folder, whose modules are a package

from pulumi_policy import EnforcementLevel, PolicyPack

from policy.pack import policies

PolicyPack(name="bluegreen", enforcement_level=EnforcementLevel.MANDATORY, policies=policies())
