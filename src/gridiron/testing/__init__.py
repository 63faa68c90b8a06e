"""Fakes of the systems outside; contract tests hold them to the real ones."""
