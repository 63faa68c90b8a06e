"""Check the types of a project beside it: TypeScript's compiler watches, and never holds up a deployment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from gridiron.bundles.esbuild import SDK_FOR_NODE, SDK_FOR_WORKERD
from gridiron.bundles.incremental import Mistake
from gridiron.process.child import Command
from gridiron.toolchain.programs import Program

CONFIG = "tsconfig.json"
OPTIONS = ("--noEmit", "--watch", "--preserveWatchOutput", "--pretty", "false", "--locale", "en")

_MISTAKE = re.compile(r"(?:(?P<file>.+?)\((?P<line>\d+),(?P<column>\d+)\): )?error (?P<text>TS\d+: .*)")
_END = re.compile(r".* - Found \d+ errors?\. ")


class TypeToolchain(Protocol):
    """What is needed of the toolchain."""

    def node(self) -> Program:
        """Give Node."""

    def tsc(self) -> Program:
        """Give TypeScript's compiler."""


def plan_check(
    directory: Path, toolchain: TypeToolchain, sdk: Mapping[str, Path], out: Path
) -> Command | None:
    """Say how the types of a project are checked; None for one without a tsconfig.json.

    The compiler is the project's own, or else ours. `sdk` are the files of the Restate SDK where it is not
    installed: a configuration in `out` says where it is then. Raises what the toolchain raises.
    """
    config = directory.absolute() / CONFIG
    if not config.is_file():
        return None
    if sdk:
        paths = {name: [str(file.with_suffix(".d.ts"))] for name, file in sdk.items()}
        paths |= dict.fromkeys(SDK_FOR_NODE, paths[SDK_FOR_WORKERD])
        config, extended = out / CONFIG, config
        config.write_text(
            json.dumps({"extends": str(extended), "compilerOptions": {"paths": paths}}), "utf-8"
        )
    arguments = (*find_compiler(directory, toolchain), *OPTIONS, "--project", str(config))
    return Command("tsc", arguments, cwd=directory)


def find_compiler(directory: Path, toolchain: TypeToolchain) -> tuple[str, ...]:
    """Give the compiler's command: that of the project, or of a directory above it, else ours."""
    resolved, ours = directory.resolve(), toolchain.tsc().path
    for above in (resolved, *resolved.parents):
        modules = above / "node_modules"
        if (modules / "typescript" / "bin" / "tsc").is_file():
            native = modules / "@typescript" / ours.parents[1].name / "lib" / "tsc"  # itself, not by Node
            own = (str(toolchain.node().path), str(modules / "typescript" / "bin" / "tsc"))
            return (str(native),) if native.is_file() else own
    return (str(ours),)


class TypeReport:
    """Reads the compiler's lines; hands on all mistakes whenever it has looked at everything."""

    def __init__(self, on_result: Callable[[tuple[Mistake, ...]], None]) -> None:
        self._on_result = on_result
        self._mistakes: list[Mistake] = []

    def feed(self, line: str) -> None:
        """Take a line of its output, without its end."""
        if match := _MISTAKE.fullmatch(line):
            number, column = match["line"], match["column"]
            place = (int(number), int(column)) if number else (None, None)
            self._mistakes.append(Mistake(match["text"], match["file"], *place))
        elif line.startswith("  ") and self._mistakes:  # it goes on
            last = self._mistakes.pop()
            self._mistakes.append(Mistake(f"{last.text}\n{line}", last.file, last.line, last.column))
        elif _END.match(f"{line} "):
            found, self._mistakes = tuple(self._mistakes), []
            self._on_result(found)
