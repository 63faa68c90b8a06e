"""A whole node out of its roles."""
