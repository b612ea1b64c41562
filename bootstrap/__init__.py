"""Bootstrap of an AWS account, once: Pulumi state bucket and key, and CI roles."""
