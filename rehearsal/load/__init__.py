"""Load generator and its request log."""
