"""The manager's HTTP API: routes, problems, and nothing that decides."""
