"""The data plane: generated configuration, router, cells, pool, proxy."""
