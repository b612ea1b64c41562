"""GitHub Actions: comments, step summaries, generated reference pages."""
