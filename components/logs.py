"""Where the lines of the app, of its boots and of the machines' systems go, and for how long they stay."""

from __future__ import annotations

import pulumi
from pulumi_aws import cloudwatch

from ami.boot.user_data import LogGroups
from components.policy_documents import log_group
from config.context import StackContext
from config.settings import LogSettings


class Logs(pulumi.ComponentResource):
    """Output: `groups`, by name. They outlive machines and colors; each machine writes streams of its own."""

    groups: pulumi.Output[LogGroups]

    def __init__(
        self, name: str, context: StackContext, settings: LogSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("bluegreen:observability:Logs", name, {}, opts)
        self._name, self._context, self._settings = name, context, settings
        app, boot, system = (self._group(of) for of in ("app", "boot", "system"))
        self.groups = pulumi.Output.all(app.name, boot.name, system.name).apply(
            lambda names: LogGroups(app=names[0], boot=names[1], system=names[2])
        )
        self.register_outputs({"app": app.name, "boot": boot.name, "system": system.name})

    def _group(self, of: str) -> cloudwatch.LogGroup:
        return cloudwatch.LogGroup(
            f"{self._name}-{of}",
            # A name, not a prefix: machines are told it, and one that was deleted by hand must come back under it.
            name=log_group(self._context.stack, of),
            retention_in_days=self._settings.retention_days,
            tags={"Stack": self._context.stack},
            opts=pulumi.ResourceOptions(parent=self),
        )
