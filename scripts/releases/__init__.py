"""Releases: bundles, and the artifacts bucket that holds them."""
