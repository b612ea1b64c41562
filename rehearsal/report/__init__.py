"""The rehearsal's report: a journal while it runs, a display, and one HTML page."""
