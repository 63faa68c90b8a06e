"""The command line: its verbs, each in a module of its own, and nothing else.

The module of a verb is imported when somebody asks for the verb, and what it needs beyond its options when it
runs. So `gridiron version` answers at once, and so does the shell's completion of a verb's options. `--help`
and the completion of verbs read all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.main import get_group

from gridiron.cli.edge import Edge

MODULES = {
    "up": "roles",
    "demo": "demo_verb",
    "init": "init",
    "deploy": "deploy",
    "dev": "dev_verb",
    "ls": "builds",
    "show": "builds",
    "release": "builds",
    "rollback": "rollback",
    "prune": "prune",
    "audit": "token",
    "call": "call",
    "digest": "digest",
    "logs": "logs",
    "status": "status",
    "doctor": "doctor_verb",
    "backup": "backup",
    "restore": "backup",
    "version": "versions",
    "restate": "roles",
    "manager": "roles",
    "secret": "secret",
    "token": "token",
    "cluster": "cluster",
    "keys": "keys",
    "identity": "identity",
    "workers": "roles",
}
"""Each verb, in the order of `--help`, and which module of `gridiron.cli` has it in its `verbs`."""


class Verbs(Mapping[str, Any]):
    """The commands by their verbs, each made when it is asked for."""

    def __getitem__(self, verb: str) -> Any:  # noqa: ANN401 - a class of typer's that has no public name
        module = import_module(f"gridiron.cli.{MODULES[verb]}")
        return get_group(module.verbs).commands[verb]

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class CommandLine(Edge):
    """The group of all verbs, which are not imported before they are asked for."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - typer's, handed on
        super().__init__(**{**attributes, "commands": Verbs()})

    def list_commands(self, _ctx: Any) -> list[str]:  # noqa: ANN401 - typer's Context
        """List the verbs; typer itself would make each command for that."""
        return list(self.commands)


app = typer.Typer(
    name="gridiron",
    cls=CommandLine,
    help="A self-hosted compute mesh with hot code deployment.",
    epilog="Begin with `gridiron up` in one terminal and `gridiron deploy DIR` in another, "
    "or see it all at once: `gridiron demo`.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(lambda: None)  # typer makes no group of an app that has nothing
