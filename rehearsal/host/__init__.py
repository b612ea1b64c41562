"""Sandbox of a run on this host: folder, ports, processes, Docker, database and registry; all removed at its end."""
