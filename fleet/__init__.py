"""State of a stack in AWS and checks of it, for the program's gates and for commands."""
