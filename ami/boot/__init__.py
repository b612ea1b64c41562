"""Boot program of every instance: fetches one release, runs it and reports the result."""
