"""Sample releases."""
