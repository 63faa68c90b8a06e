"""Secrets: texts that a name's workers are given, and that lie on no disk as they are."""
