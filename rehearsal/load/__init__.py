"""Users: the load generator and what its requests met."""
