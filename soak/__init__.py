"""The soak test: a node under load whose processes are killed at random. `python -m soak --help`."""
