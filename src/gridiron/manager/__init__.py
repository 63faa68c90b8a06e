"""The control plane: activation, drain, prune, registry, HTTP API."""
