"""Playground: a rehearsal environment that stays open, with a live page, commands to type and faults to inject."""
