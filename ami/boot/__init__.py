"""The boot program of every machine: it fetches one release, runs it, and says how that went."""
