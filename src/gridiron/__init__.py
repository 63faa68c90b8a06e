"""Gridiron: a self-hosted compute mesh with hot code deployment."""

__version__ = "0.1.0"
