"""Build a project again and again: esbuild keeps what it has read, so that each build reads what changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gridiron.bundles.disk import storing
from gridiron.bundles.esbuild import OUTPUT, finish_script, plan_arguments
from gridiron.bundles.paths import METADATA_FILE
from gridiron.bundles.wrangler import Wrangler
from gridiron.errors import BuildStepFailed
from gridiron.model import ModuleKind

SCRIPT = Path(__file__).with_name("incremental.mjs")

_LISTS = frozenset({"external", "entryPoints"})
_BUNDLED = frozenset({ModuleKind.JS, ModuleKind.CJS, ModuleKind.JSON})
_SIMPLE_GLOB = re.compile(r"(?:\*\*/)?\*(?P<ending>\.\w+)")


@dataclass(frozen=True, slots=True)
class Mistake:
    """What esbuild finds wrong with a script, or doubtful."""

    text: str
    file: str | None = None  # relative to the project
    line: int | None = None  # from 1 on
    column: int | None = None  # the same


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of a build; the bundle is as it was where there are errors."""

    errors: tuple[Mistake, ...] = ()
    warnings: tuple[Mistake, ...] = ()


class Incremental:
    """esbuild as a running program: a context manager. What it builds is in `bundle`, a directory in `out`.

    It is for one thread at a time, and every method blocks.
    """

    def __init__(self, node: Path, api: Path, out: Path) -> None:
        self.bundle = out / "bundle"
        self._made = out / "made"
        self._command = (str(node), str(SCRIPT), str(api))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with storing("Making", self.bundle):
            self.bundle.mkdir()
            self._made.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def build(self, directory: Path, entry: str, sdk: Mapping[str, Path], extra: Sequence[str]) -> Rebuilt:
        """Build the project in `directory` from its script `entry`; `sdk` and `extra` are as for one build.

        Raises BuildStepFailed when esbuild ends, and starts it again the next time; StorageFailed.
        """
        options = {
            **plan_options((*plan_arguments(entry, self._made, sdk), *extra)),
            "absWorkingDir": str(directory.absolute()),
            "logLevel": "silent",
            "metafile": True,
        }
        answer = self._ask(json.dumps(options))
        if answer["metafile"] is not None:
            with storing("Writing", self.bundle):
                self._assemble(answer["metafile"])
        return Rebuilt(parse_mistakes(answer["errors"]), parse_mistakes(answer["warnings"]))

    def _ask(self, options: str) -> Any:  # noqa: ANN401 - JSON
        process = self._process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise BuildStepFailed("esbuild", "It has no input or output.")
        try:
            process.stdin.write(f"{options}\n".encode())
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            self._stop()
            raise BuildStepFailed("esbuild", f"It ended with {process.returncode}.")
        return json.loads(answer)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,  # it ends when this does
            stdout=subprocess.PIPE,
            env={**os.environ, "NODE_PATH": ""},  # packages of the project alone
            start_new_session=True,  # Ctrl-C is for this process
        )

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            # Leaving it closes its pipes and waits; closing complains of a request that was never read.
            with suppress(BrokenPipeError), process:
                process.kill()

    def _assemble(self, metafile: Mapping[str, Any]) -> None:
        """Put what esbuild made into the bundle, its script finished, and take out what it made before."""
        names = {Path(output).name for output in metafile["outputs"]}
        for name in names - {OUTPUT}:  # a file of another content has another name
            if not (self.bundle / name).exists():
                shutil.copyfile(self._made / name, self.bundle / name)
        script = finish_script((self._made / OUTPUT).read_text("utf-8"), json.dumps(metafile).encode())
        (self.bundle / OUTPUT).write_text(script, "utf-8")
        for path in self.bundle.iterdir():
            if path.name not in names and path.name != METADATA_FILE:
                path.unlink()


def plan_options(arguments: Sequence[str]) -> dict[str, Any]:
    """Say to esbuild's module what its command line is told: the same options under other names."""
    options: dict[str, Any] = {"entryPoints": [each for each in arguments if not each.startswith("--")]}
    for argument in arguments:
        if not argument.startswith("--"):
            continue
        flag, equals, value = argument.removeprefix("--").partition("=")
        name, colon, key = flag.partition(":")
        name = re.sub(r"-(\w)", lambda match: match[1].upper(), name)
        if name in _LISTS:
            options.setdefault(name, []).append(argument.partition(":")[2])
        elif colon:
            options.setdefault(name, {})[key] = value == "true" if name == "supported" else value
        elif name == "conditions":
            options[name] = value.split(",")
        else:
            options[name] = {"true": True, "false": False}.get(value, value) if equals else True
    return options


def plan_extra(wrangler: Wrangler) -> tuple[str, ...] | None:
    """Say what a wrangler file tells esbuild; None where only wrangler itself builds as the file says."""
    globs = [glob for rule in wrangler.rules if rule.type not in _BUNDLED for glob in rule.globs]
    simple = [match for match in map(_SIMPLE_GLOB.fullmatch, globs) if match]
    if wrangler.special or len(simple) < len(globs):
        return None
    return (
        *(f"--define:{name}={value}" for name, value in wrangler.defines.items()),
        *(f"--alias:{name}={value}" for name, value in wrangler.aliases.items()),
        *(f"--loader:{match['ending']}=copy" for match in simple),
    )


def parse_mistakes(messages: Sequence[Mapping[str, Any]]) -> tuple[Mistake, ...]:
    """Read esbuild's messages (https://esbuild.github.io/api/#message-objects)."""
    return tuple(_parse_mistake(message["text"], message["location"] or {}) for message in messages)


def _parse_mistake(text: str, location: Mapping[str, Any]) -> Mistake:
    column = location.get("column")
    return Mistake(text, location.get("file"), location.get("line"), None if column is None else column + 1)
