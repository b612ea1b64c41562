"""Playground: the rehearsal's stage left open for a person, with a live page, commands to type and faults to inject."""
