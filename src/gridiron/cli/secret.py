"""`gridiron secret put | list | delete`: the secrets of a name. No verb takes or prints a value."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.deployed import render_activated, render_headline
from gridiron.cli.options import Json, PortOffset, Timeout, Url, Yes
from gridiron.cli.output import confirm_removal, print_json, print_table, print_text
from gridiron.cli.outside import connect, outside_of
from gridiron.cli.table import Table
from gridiron.cli.words import render_moment
from gridiron.errors import SecretInvalid, SecretTooLarge
from gridiron.secrets.rules import MAX_VALUE, check_key, check_value

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.manager.api import SecretChanged, SecretList

EPILOG = """Examples:

gridiron secret put greeter API_KEY < api-key.txt

pass show api-key | gridiron secret put greeter API_KEY"""

app = typer.Typer(
    help="Set, list and remove the secrets of a name: its workers have them as bindings, `env.KEY`.",
    epilog=EPILOG,
)
verbs = typer.Typer()
verbs.add_typer(app, name="secret")

HEADER = ("KEY", "SET")
LINE_ENDS = ("\r\n", "\n")
LONGEST_LINE_END = 2

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the bundles that have it.")]


@app.command()
def put(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="What it is in `env`.")],
    timeout: Timeout = 600,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Set a secret to what standard input holds, without the line end that is last; a terminal is asked.

    The active build's code becomes active again, as a new build that has it.
    """
    from gridiron.manager.api import PutSecretRequest  # noqa: PLC0415 - see gridiron.cli.edge

    check_key(key)
    request = PutSecretRequest(value=check_value(read_value(ctx, key)))
    with connect(ctx, url, port_offset) as manager:
        changed = manager.put_secret(name, key, request, timedelta(seconds=timeout))
    report(changed, "is set", as_json=as_json)


@app.command("list")
def list_secrets(
    ctx: typer.Context, name: Name, as_json: Json = False, url: Url = None, port_offset: PortOffset = None
) -> None:
    """List the secrets of a name, and when each was set."""
    with connect(ctx, url, port_offset) as manager:
        listed = manager.fetch_secrets(name)
    if as_json:
        print_json(listed.model_dump(mode="json"))
    elif listed.secrets:
        print_table(render_secrets(listed, outside_of(ctx).now()))
    else:
        print_text(f"{name} has no secrets. `gridiron secret put {name} KEY` sets one.")


@app.command()
def delete(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `gridiron secret list` shows it.")],
    yes: Yes = False,
    timeout: Timeout = 600,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Remove a secret. The active build's code becomes active again, as a new build without it."""
    check_key(key)
    if not yes:
        if not outside_of(ctx).can_ask():
            raise typer.BadParameter("needs -y where no terminal can be asked.", param_hint="KEY")
        confirm_removal(f"Remove {key} of {name}?")
    with connect(ctx, url, port_offset) as manager:
        changed = manager.delete_secret(name, key, timedelta(seconds=timeout))
    report(changed, "is removed", as_json=as_json)


def read_value(ctx: typer.Context, key: str) -> str:
    """Read a value: from a terminal without showing it, or all of standard input.

    Raises SecretInvalid, SecretTooLarge.
    """
    if outside_of(ctx).types():
        typed: str = typer.prompt(f"{key}, which is not shown", hide_input=True, err=True)
        return typed
    content = typer.get_binary_stream("stdin").read(MAX_VALUE + LONGEST_LINE_END + 1)
    if len(content) > MAX_VALUE + LONGEST_LINE_END:
        raise SecretTooLarge("The value has", f"more than {MAX_VALUE} bytes", str(MAX_VALUE))
    try:
        return strip_line_end(content.decode())
    except UnicodeDecodeError:
        raise SecretInvalid("its value is no UTF-8") from None  # that error has the value in it


def strip_line_end(text: str) -> str:
    """Take one line end away from the end of a text, if it has one."""
    return next((text.removesuffix(end) for end in LINE_ENDS if text.endswith(end)), text)


def report(changed: SecretChanged, done: str, *, as_json: bool) -> None:
    """Print what became of a change."""
    if as_json:
        print_json(changed.model_dump(mode="json"))
        return
    print_text(render_outcome(changed, done))
    if changed.activated is not None:
        print_text(render_headline(changed.activated))
        print_table(render_activated(changed.activated, None))


def render_outcome(changed: SecretChanged, done: str) -> str:
    """Say in one line what became of a change; `done` is how that is called."""
    what = f"{changed.key} of {changed.name}"
    if changed.missing:
        missing = ", ".join(changed.missing)
        return f"{what} {done}. No new build was made: the active one's code also requires {missing}."
    if changed.activated is not None:
        return (
            f"{what} {done}." if changed.changed else f"{what} had this value, and the active build had not."
        )
    if not changed.changed:
        return f"{what} has this value already: nothing was changed."
    return f"{what} {done}. No active build had to be made anew."


def render_secrets(listed: SecretList, now: datetime) -> Table:
    """Make the table of `gridiron secret list`."""
    return Table(tuple((each.key, render_moment(each.set_at, now)) for each in listed.secrets), HEADER)
