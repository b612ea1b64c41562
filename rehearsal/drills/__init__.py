"""Faults, each played against a stage on which users are served, and what became of them."""
