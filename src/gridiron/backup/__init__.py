"""A node as one file, taken while it runs, and a node out of such a file."""
