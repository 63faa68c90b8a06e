"""A bundle's way in: source, manifest, digest, project build, store."""
