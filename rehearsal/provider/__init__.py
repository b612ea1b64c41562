"""Pulumi provider plugins `aws` and `docker` for the emulator: the types and properties that this project uses."""
