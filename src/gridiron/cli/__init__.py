"""The command line: a client of the manager's HTTP API, and the verbs that start roles."""
