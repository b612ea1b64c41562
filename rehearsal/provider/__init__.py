"""Pulumi provider plugins `aws` and `docker` for the AWS emulator: types and properties that this project uses."""
