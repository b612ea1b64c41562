"""Settings of a stack: its Pulumi config, parsed and validated by one function for program, commands and gates."""
