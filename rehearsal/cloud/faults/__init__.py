"""Fault injection into the AWS emulator."""
