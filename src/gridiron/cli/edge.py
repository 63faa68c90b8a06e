"""Where every failure of the command line ends: one line for people, one object for programs, an exit status.

0    done
1    it failed: `error: <sentence>  [code]` on standard error
2    it was called wrongly: the same, with the code `usage`
70   a fault of Gridiron's own: the traceback (EX_SOFTWARE of sysexits.h)
130  Ctrl-C
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from gridiron.cli.output import is_coloured
from gridiron.errors import GridironError

if TYPE_CHECKING:  # at run time it would cost every verb the time that pydantic takes to start
    from gridiron.manager.api import Problem

JSON_WANTED = "gridiron.json"
"""Key of the context's `meta`: whether `--json` was given."""

FAILED, FAULTY, INTERRUPTED = 1, 70, 130


@dataclass(eq=False)
class ManagerRefused(GridironError):
    """The manager answered with a problem; its code and its detail stand in the problem."""

    code = "manager_refused"
    sentence = "{problem.detail}"
    problem: Problem


class Edge(TyperGroup):
    """The group of all verbs; what they raise is told here and nowhere else."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:  # noqa: ANN401 - typer's
        """Run what `args` (None: those of the process) say, or `--help` where they are empty; then exit."""
        arguments = sys.argv[1:] if args is None else list(args)
        sys.exit(self._run(arguments or ["--help"], *rest, **{**extra, "standalone_mode": False}))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's Context, declared by a class of no public name
        """Run a verb; tell a failure that has a code, and turn it into the exit status."""
        try:
            return super().invoke(ctx)
        except (GridironError, ExceptionGroup) as error:
            failures = failures_in(error)
            if not failures:
                raise
            for failure in failures:
                _tell(render_failure(failure), _line_of(failure), as_json=ctx.meta.get(JSON_WANTED, False))
            raise typer.Exit(FAILED) from error

    def _run(self, arguments: list[str], *rest: Any, **extra: Any) -> int:  # noqa: ANN401 - handed on
        try:
            status = super().main(arguments, *rest, **extra)
            sys.stdout.flush()
        except TyperException as error:
            return _tell_usage(error, as_json="--json" in arguments)
        except typer.Abort:  # Ctrl-C, or the end of the input, at a question
            typer.echo(err=True)  # whose line is not at its end
            return INTERRUPTED
        except BrokenPipeError:  # whoever read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except Exception:  # noqa: BLE001 - this is the edge: a fault must show, with a status of its own
            traceback.print_exc()
            return FAULTY
        return status if isinstance(status, int) else 0


def failures_in(error: GridironError | ExceptionGroup[Exception]) -> Sequence[GridironError]:
    """Give the failures that an error consists of; none when a fault is among them."""
    if isinstance(error, GridironError):
        return (error,)
    found: list[GridironError] = []
    for part in error.exceptions:
        inner = failures_in(part) if isinstance(part, GridironError | ExceptionGroup) else ()
        if not inner:
            return ()
        found.extend(inner)
    return found


def render_failure(error: GridironError) -> dict[str, Any]:
    """Put a failure into an object like the manager's problems; one of this process has no HTTP status."""
    if isinstance(error, ManagerRefused):
        return error.problem.model_dump(mode="json", exclude_none=True)
    problem = {
        "title": error.code.replace("_", " ").capitalize(),
        "detail": str(error),
        "code": error.code,
        "build_id": getattr(error, "build_id", None),
    }
    return {key: value for key, value in problem.items() if value is not None}


def _line_of(error: GridironError) -> str:
    """Give the sentence for people: with the step, where an activation failed in one."""
    if isinstance(error, ManagerRefused) and error.problem.step:
        return f"The activation failed at {error.problem.step!r}. {error}"
    return str(error)


def _tell_usage(error: TyperException, *, as_json: bool) -> int:
    """Tell how the command line was called wrongly, and where to look."""
    ctx: typer.Context | None = getattr(error, "ctx", None)
    message = error.format_message().strip()
    sentence = message if message.endswith((".", "?", "!")) else f"{message}."
    if ctx is not None:
        sentence = f"{sentence} Try `{ctx.command_path} --help`."
    problem = {"title": "Usage", "detail": sentence, "code": "usage"}
    _tell(problem, sentence, as_json=as_json)
    return error.exit_code


def _tell(problem: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    """Print a failure: its line on standard error, and the object on standard output where wanted."""
    first, *rest = sentence.rstrip().split("\n")
    coloured = is_coloured(sys.stderr)
    word = typer.style("error:", fg="red") if coloured else "error:"
    typer.echo("\n".join([f"{word} {first}  [{problem['code']}]", *rest]), err=True)
    if as_json:
        typer.echo(json.dumps(problem, indent=2, ensure_ascii=False))
