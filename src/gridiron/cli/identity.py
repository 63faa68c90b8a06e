"""`gridiron identity`: the keys that Restate signs its requests to the workers with. No node is asked."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer

from gridiron.cli.options import DataDir, Json
from gridiron.cli.output import Progress, print_json, print_table, print_text
from gridiron.cli.table import Table
from gridiron.cli.words import render_moment
from gridiron.errors import RotationPending

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.identity.store import Identity, IdentityStore

app = typer.Typer(help="Show the keys that Restate signs its requests with, and change to a new one.")
verbs = typer.Typer()
verbs.add_typer(app, name="identity")

HEADER = ("KEY", "SIGNS", "ACCEPTED")
START_LIMIT = timedelta(seconds=60)
"""How long to wait until Restate is started again: under `gridiron up` it takes seconds."""

PAUSE = timedelta(milliseconds=200)


@app.command()
def show(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the keys that the cells accept, and say which of them Restate signs with."""
    identity = _find_store(data_dir).fetch()
    if as_json:
        print_json(describe(identity))
    else:
        print_table(render(identity, datetime.now(UTC)))


@app.command()
def rotate(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Have Restate sign with a new key; the one before is refused from then on, and no call is lost.

    The cells accept the new key first; then Restate is started again, as `gridiron up` does by itself. What
    was broken off goes on when this is called again. In a cluster, call it on each node, one after the other:
    the first makes a key, the others take that up.
    """
    store = _find_store(data_dir, changes=True)
    with Progress(quiet=as_json) as progress:
        progress.say("Making a key, and having the cells accept it")
        kid = store.prepare_next()
        progress.say("Waiting for Restate to start again (runit: `sv restart restate`)")
        _await_start(store, kid)
    if as_json:
        print_json(describe(store.fetch()))
    else:
        print_text(f"Restate signs with {kid}. The key before is refused.")


def _find_store(data_dir: DataDir, *, changes: bool = False) -> IdentityStore:
    from gridiron.identity.store import IdentityStore  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    settings = load_settings(data_dir=data_dir)
    return IdentityStore.of_node(settings) if changes else IdentityStore.of(settings)


def _await_start(store: IdentityStore, kid: str) -> None:
    """Wait until a start of Restate has taken up a key. Raises RotationPending."""
    deadline = time.monotonic() + START_LIMIT.total_seconds()
    while not store.fetch().is_settled_on(kid):
        if time.monotonic() > deadline:
            raise RotationPending(kid, round(START_LIMIT.total_seconds()))
        time.sleep(PAUSE.total_seconds())


def describe(identity: Identity) -> dict[str, object]:
    """Say how the keys are, for programs."""
    return {
        "signing": identity.signing,
        "next": identity.following,
        "accepted": [{"kid": key.kid, "since": key.accepted_at.isoformat()} for key in identity.accepted],
    }


def render(identity: Identity, now: datetime) -> Table:
    """Say how the keys are, for people."""
    signs = {identity.following: "from Restate's next start on", identity.signing: "yes"}
    since = {key.kid: render_moment(key.accepted_at, now) for key in identity.accepted}
    kids = [kid for kid in (identity.signing, identity.following) if kid is not None and kid not in since]
    rows = tuple((kid, signs.get(kid, "no"), since.get(kid, "no")) for kid in (*since, *kids))
    return Table(rows, HEADER)
