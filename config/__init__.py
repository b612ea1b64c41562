"""Settings of a stack: its Pulumi config, parsed and checked once, by one function for program, scripts and gates."""
