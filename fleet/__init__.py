"""Judgments on a stack that the program's gates, the scripts and the tests share."""
