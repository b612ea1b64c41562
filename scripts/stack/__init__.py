"""A Pulumi stack: its config, outputs, changes, drift, lock and history."""
