"""`gridiron token create | ls | revoke`, and `gridiron audit`: who may do what, and who has done what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.options import Json, PortOffset, Url
from gridiron.cli.output import print_json, print_table, print_text
from gridiron.cli.outside import connect, outside_of
from gridiron.cli.table import Table
from gridiron.cli.words import render_age, render_moment

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.access.audit import Entry
    from gridiron.manager.api import TokenCreated, TokenList, TokenView

EPILOG = """Examples:

gridiron token create ci --scope 'deploy:shop-*' --expires 90d

gridiron token create dashboard --scope read --json | jq -r .text > dashboard.token"""

app = typer.Typer(help="Make, list and revoke the tokens that let others ask this node.", epilog=EPILOG)
verbs = typer.Typer()
verbs.add_typer(app, name="token")

HEADER = ("ID", "NAME", "SCOPES", "CREATED", "EXPIRES")
AUDIT_HEADER = ("WHEN", "WHO", "FROM", "WHAT", "OUTCOME", "ABOUT")  # the last may be long


@app.command()
def create(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is called in lists and the audit log.")
    ],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="read, deploy:PATTERN (of names, with *) or admin. May be repeated.",
        ),
    ],
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="15m, 12h, 30d, … Default: when it is revoked."),
    ] = None,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Make a token. It is printed once, on standard output; nobody can read it again."""
    from gridiron.access.scopes import parse_scope  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.manager.api import CreateTokenRequest  # noqa: PLC0415 - the same

    scopes = tuple(str(parse_scope(text)) for text in scope)
    with connect(ctx, url, port_offset) as manager:
        created = manager.create_token(CreateTokenRequest(name=name, scopes=scopes, expires=expires))
    if as_json:
        print_json({**created.token.model_dump(mode="json"), "text": created.text})
    else:
        typer.echo(render_created(created), err=True)
        print_text(created.text)


@app.command("ls")
def list_tokens(
    ctx: typer.Context, as_json: Json = False, url: Url = None, port_offset: PortOffset = None
) -> None:
    """List the tokens, oldest first; what they are is not shown."""
    with connect(ctx, url, port_offset) as manager:
        listed = manager.fetch_tokens()
    if as_json:
        print_json(listed.model_dump(mode="json"))
    else:
        print_table(render_tokens(listed, outside_of(ctx).now()))


@app.command()
def revoke(
    ctx: typer.Context,
    token_id: Annotated[
        str, typer.Argument(metavar="ID", help="As `gridiron token ls` shows it; or the token, for its id.")
    ],
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Have a token be good for nothing from now on."""
    found = find_named(token_id)
    with connect(ctx, url, port_offset) as manager:
        revoked = manager.revoke_token(found)
    if as_json:
        print_json(revoked.model_dump(mode="json"))
    else:
        print_text(f"{revoked.id} ({revoked.name}) is revoked.")


@verbs.command()
def audit(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", metavar="N", min=1, help="How many lines.")] = 50,
    as_json: Json = False,
    url: Url = None,
    port_offset: PortOffset = None,
) -> None:
    """Show who changed what, when and from where, and who was refused; the newest come last."""
    with connect(ctx, url, port_offset) as manager:
        entries = list(reversed(manager.fetch_audit(limit)))
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in entries])
    else:
        print_table(render_audit(entries))


def find_named(text: str) -> str:
    """Give the id of the token that a text names. Raises BadParameter, without the text: it may be one."""
    from gridiron.access.tokens import read_id  # noqa: PLC0415 - see gridiron.cli.edge

    token_id = read_id(text.strip())
    if token_id is None:
        raise typer.BadParameter("That is no token's id. `gridiron token ls` shows them.", param_hint="ID")
    return token_id


def render_created(created: TokenCreated) -> str:
    """Say what a new token is good for."""
    until = (
        f"until {created.token.expires_at:%Y-%m-%d %H:%M %Z}" if created.token.expires_at else "until revoked"
    )
    return (
        f"{created.token.id} ({created.token.name}): {', '.join(created.token.scopes)}, {until}. Shown once:"
    )


def render_tokens(listed: TokenList, now: datetime) -> Table:
    """Make the table of `gridiron token ls`."""
    rows = (
        (
            token.id,
            token.name,
            " ".join(token.scopes),
            render_moment(token.created_at, now),
            render_expiry(token, now),
        )
        for token in listed.tokens
    )
    return Table(tuple(rows), HEADER)


def render_expiry(token: TokenView, now: datetime) -> str:
    """`in 30d`, `expired`, `never`."""
    if token.expires_at is None:
        return "never"
    return "expired" if token.expired else f"in {render_age(token.expires_at - now)}"


def render_audit(entries: Sequence[Entry]) -> Table:
    """Make the table of `gridiron audit`: of a change that has ended, its end alone."""
    ended = {entry.id for entry in entries if entry.event in {"done", "failed"}}
    rows = (
        (
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            entry.name or entry.token or "nobody",
            entry.address or "",
            f"{entry.method} {entry.route}",
            render_outcome(entry),
            " ".join(f"{key}={value}" for key, value in entry.about.items()),
        )
        for entry in entries
        if entry.event != "began" or entry.id not in ended
    )
    return Table(tuple(rows), AUDIT_HEADER)


def render_outcome(entry: Entry) -> str:
    """`done`, `failed: service_taken`; a change that is begun alone goes on, or was cut off."""
    outcome = "begun, end unknown" if entry.event == "began" else entry.event
    told = f"{outcome}: {entry.code}" if entry.code else outcome
    return f"{told} ({entry.left_out} refusals before it left out)" if entry.left_out else told
