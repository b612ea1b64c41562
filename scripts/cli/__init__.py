"""Parts of all commands: options, display, exit codes, signals, notifications."""
