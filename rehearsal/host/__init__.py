"""What a run has of this host: folder, ports, processes, Docker, database, registry; all removed at its end."""
