"""Pulumi components of a stack; arithmetic and policy documents in modules that import no pulumi_aws."""
