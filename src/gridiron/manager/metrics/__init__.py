"""What the node measures of itself, for `GET /metrics`: docs/metrics.md names and explains all of it."""
