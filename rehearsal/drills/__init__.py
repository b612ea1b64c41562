"""Fault drills against a test environment with live traffic."""
