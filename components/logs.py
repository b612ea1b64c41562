"""CloudWatch log groups of the app, of boots and of the instances' system logs."""

from __future__ import annotations

import pulumi
from pulumi_aws import cloudwatch

from ami.boot.user_data import LogGroups
from components.policy_documents import INSTANCE_LOGS, log_group
from config.context import StackContext
from config.settings import LogSettings


class Logs(pulumi.ComponentResource):
    """Output: `groups`, by name. They outlive instances and colors; each instance writes its own streams."""

    groups: pulumi.Output[LogGroups]

    def __init__(
        self, name: str, context: StackContext, settings: LogSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bluegreen:observability:Logs", name, {}, opts)
        self._name, self._context, self._settings = name, context, settings
        app, boot, system = (self._group(kind) for kind in INSTANCE_LOGS)
        self.groups = pulumi.Output.all(app.name, boot.name, system.name).apply(
            lambda names: LogGroups(app=names[0], boot=names[1], system=names[2])
        )
        self.register_outputs({"app": app.name, "boot": boot.name, "system": system.name})

    def _group(self, kind: str) -> cloudwatch.LogGroup:
        return cloudwatch.LogGroup(
            f"{self._name}-{kind}",
            # A name, not a prefix: it is in user data, and a group that was deleted manually must get it again.
            name=log_group(self._context.stack, kind),
            retention_in_days=self._settings.retention_days,
            tags={"Stack": self._context.stack},
            opts=pulumi.ResourceOptions(parent=self),
        )
