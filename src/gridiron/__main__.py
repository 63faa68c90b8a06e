"""`python -m gridiron`: the command line."""

from __future__ import annotations

from gridiron.cli.main import app

app(prog_name="gridiron")
