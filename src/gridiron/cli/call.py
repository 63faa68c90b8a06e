"""`gridiron call`: call a handler through Restate's ingress."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridiron.cli.options import Json, PortOffset
from gridiron.cli.output import print_json, print_text
from gridiron.cli.outside import outside_of

if TYPE_CHECKING:  # see gridiron.cli.edge
    import httpx2

verbs = typer.Typer()

EPILOG = """Examples:

gridiron call greeter greet '"Ada"'

gridiron call counter/visits add 2

gridiron call greeter slow --send - < argument.json"""

CONTEXT_SETTINGS = {"ignore_unknown_options": True}
"""So that `-2` is an argument; a mistyped option is then told as an argument that is too much or no JSON."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be called."""

    service: str
    key: str | None  # of a virtual object or workflow
    handler: str
    body: Any  # JSON; None: no body
    idempotency_key: str | None
    send: bool


@verbs.command(epilog=EPILOG, context_settings=CONTEXT_SETTINGS)
def call(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="SERVICE[/KEY]", help="The service; with the key, where it is keyed.")
    ],
    handler: Annotated[str, typer.Argument(metavar="HANDLER")],
    argument: Annotated[
        str | None,
        typer.Argument(metavar="JSON", help="The argument; `-` reads standard input. Default: none."),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Do not wait for the result: print the invocation's id.")
    ] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="Calls with the same key are one invocation."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="The ingress's URL; several with commas: the first that can be reached is called. "
            "Default: GRIDIRON_INGRESS_URL, or its port on this machine.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    port_offset: PortOffset = None,
) -> None:
    """Call a handler and print its result. The invocation is durable: it goes on after Ctrl-C."""
    import asyncio  # noqa: PLC0415 - see gridiron.cli.edge

    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    service, key = parse_target(target)
    body = None if argument is None else parse_argument(sys.stdin.read() if argument == "-" else argument)
    wanted = Call(service, key, handler, body, idempotency_key, send)
    settings = load_settings(ingress_url=url, port_offset=port_offset)
    result = asyncio.run(run_call(wanted, settings.ingress_urls, outside_of(ctx).transport))
    if as_json:
        print_json({"invocation_id": result} if send else result)
    elif isinstance(result, str):
        print_text(result)
    elif result is not None:
        print_json(result)


def parse_target(target: str) -> tuple[str, str | None]:
    """Take `SERVICE[/KEY]` apart; a key may hold slashes. Raises BadParameter."""
    service, slash, key = target.partition("/")
    if not service or (slash and not key):
        raise typer.BadParameter(f"{target!r} is not SERVICE or SERVICE/KEY.", param_hint="SERVICE[/KEY]")
    return service, key if slash else None


def parse_argument(text: str) -> Any:  # noqa: ANN401 - JSON
    """Decode the JSON argument. Raises BadParameter, which says where it is wrong."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        sentence = f"{_cut(text)} is not JSON ({error}). A text needs its quotes: '\"Ada\"'."
        raise typer.BadParameter(sentence, param_hint="JSON") from error


async def run_call(wanted: Call, urls: Sequence[str], transport: httpx2.AsyncBaseTransport | None) -> Any:  # noqa: ANN401 - JSON
    """Call or send through the first ingress that can be reached; give the result, or the invocation's id.

    Raises what `Ingress` raises, of the last one. A call that an ingress may have received is not made again.
    """
    import httpx2  # noqa: PLC0415 - see gridiron.cli.edge

    from gridiron.errors import RestateUnavailable  # noqa: PLC0415 - the same
    from gridiron.restate.connection import was_connected  # noqa: PLC0415 - the same
    from gridiron.restate.ingress import Ingress  # noqa: PLC0415 - the same

    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        for left, url in zip(reversed(range(len(urls))), urls, strict=True):
            ingress = Ingress(url, client)
            act = ingress.send if wanted.send else ingress.call
            try:
                return await act(
                    wanted.service, wanted.handler, wanted.body, wanted.key, wanted.idempotency_key
                )
            except RestateUnavailable as error:
                if not left or was_connected(error):
                    raise
    raise AssertionError("the last attempt returns or raises")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _cut(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
