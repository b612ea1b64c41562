"""Fault injection into the emulated AWS."""
