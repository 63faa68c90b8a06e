"""What the check of Restate's signature costs a call, and what it costs to refuse a request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.harness import BenchFailed, Outcome, Row, at_least, at_most, ratios_of, spread_of, take_turns
from bench.measures.throughput import Measured
from bench.session import Session
from bench.subjects.node import Node, running_node
from bench.wrk import Calls, Requests, Window, run_requests, run_wrk
from gridiron.ed25519 import parse_private_key
from gridiron.identity.accepted import kid_of
from gridiron.identity.store import IdentityStore
from gridiron.settings import shared_path
from gridiron.testing.signing import sign_token

VERSION, NAME = "1.0.0", "signed"
CHECKED, UNCHECKED = "checked", "unchecked"
HEALTH, UNSIGNED, FORGED = "health", "unsigned", "forged"
CALLERS = 8
WINDOW_SECONDS = 4

SOURCE = """
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
const answer = async () => "@VERSION@"; // no step: the shortest call that there is
const service = restate.service({ name: "@SERVICE@", handlers: { checked: answer, unchecked: answer } });
const bidirectional = JSON.parse("@BIDIRECTIONAL@");
export default { fetch: restate.createEndpointHandler({ services: [service], bidirectional }) };
"""

CHECK = "export function findRefusal(request, path, ctx) {"
NO_CHECK = f'if (path === "/invoke/{NAME}/{UNCHECKED}") return null;'
"""Is put into `identity.js`: every request for one of two handlers is let in. Both run in the same
processes, as the same code costs up to a tenth more in one process than in another."""


def measure(session: Session) -> Outcome:
    """Call two handlers of a build in turn, one of them unchecked, then have the node refuse requests."""
    bundle = session.make_bundles("signed", SOURCE).make(VERSION, NAME)
    template = session.work / "unchecked.capnp"
    template.write_text(render_unchecked(shared_path("config/workerd-template.capnp")))
    with running_node(session, "node", workerd_template_path=template) as node:
        node.activate(bundle, NAME, VERSION)
        for handler in (CHECKED, UNCHECKED):
            check_lets_in(_url(node, handler), handler == UNCHECKED)
        session.say(f"calls, {CHECKED} and {UNCHECKED} in turn")
        handlers = {handler: _caller(session, node, handler) for handler in (CHECKED, UNCHECKED)}
        calls = take_turns(handlers, session.choose(full=40, quick=1))
        session.say(f"{HEALTH}, {UNSIGNED}, {FORGED} in turn")
        refusals = take_turns(
            {name: _asker(session, requests) for name, requests in plan_refusals(node).items()},
            session.choose(full=10, quick=1),
        )
    return Outcome(
        rows=(
            *_call_rows(calls[CHECKED], calls[UNCHECKED]),
            *(_refusal_row(name, refusals) for name in (UNSIGNED, FORGED)),
        ),
        series={
            **{f"{name}, calls a second": _rates(_windows(turns)) for name, turns in calls.items()},
            **{f"{name}, cells' ms a call": _cpu_millis(turns) for name, turns in calls.items()},
            **{f"{name}, requests a second": _rates(windows) for name, windows in refusals.items()},
        },
    )


def check_lets_in(url: str, expected: bool) -> None:  # noqa: FBT001 - what is compared
    """Raise BenchFailed unless a handler lets in what is not signed, or does not, as expected."""
    if (httpx2.post(url).status_code != 401) is not expected:
        raise BenchFailed(f"{url} was to {'let in' if expected else 'refuse'} what is not signed")


def render_unchecked(shipped: Path) -> str:
    """Change the template that is shipped. Raises ValueError where it or the script is not as it was."""
    embedding = "embed {{ script.file }}"
    script = (files("gridiron.workers") / "identity.js").read_text()
    before, found, after = shipped.read_text().partition(embedding)
    if not found or CHECK not in script:
        raise ValueError(f"{shipped} has no `{embedding}`, or identity.js no `{CHECK}`")
    changed = json.dumps(script.replace(CHECK, f"{CHECK} {NO_CHECK}"))  # Cap'n Proto has the same escapes
    return (
        f"{before}{{% if script.module == 'identity.js' %}}{{% raw %}}{changed}{{% endraw %}}"
        f"{{% else %}}{embedding}{{% endif %}}{after}"
    )


def plan_refusals(node: Node) -> dict[str, Requests]:
    """Say what to ask for at the workers' port of a node: its health, and what it refuses."""
    url = _url(node, CHECKED)
    file = IdentityStore.of(node.settings).signing_key
    kid = kid_of(parse_private_key(str(file), file.read_bytes()).public_key())
    foreign = Ed25519PrivateKey.generate()
    token = sign_token(
        foreign, {"typ": "JWT", "alg": "EdDSA", "kid": kid}, {"aud": f"/invoke/{NAME}/{CHECKED}"}
    )
    forged = {"x-restate-signature-scheme": "v1", "x-restate-jwt-v1": token}
    return {
        HEALTH: _plan(f"{_address(node)}/-/health", {}),
        UNSIGNED: _plan(url, {}),
        FORGED: _plan(url, forged),
    }


def _plan(url: str, headers: dict[str, str]) -> Requests:
    answer = httpx2.post(url, headers=headers)
    return Requests(url, answer.text, answer.status_code, headers)


def _url(node: Node, handler: str) -> str:
    return f"{_address(node)}/{NAME}/{VERSION}-1/invoke/{NAME}/{handler}"


def _address(node: Node) -> str:
    return node.settings.workers_url.replace("localhost", "127.0.0.1")


def _caller(session: Session, node: Node, handler: str) -> Callable[[], Measured]:
    calls = Calls(node.ingress_port, NAME, handler, VERSION)

    def call() -> Measured:
        before = node.fetch_cpu_seconds()
        window = run_wrk(calls, CALLERS, session.choose(full=WINDOW_SECONDS, quick=1))
        after = node.fetch_cpu_seconds()
        return Measured(window, {component: after[component] - before[component] for component in after})

    return call


def _asker(session: Session, requests: Requests) -> Callable[[], Window]:
    return lambda: run_requests(requests, CALLERS, session.choose(full=WINDOW_SECONDS, quick=1))


def _call_rows(checked: tuple[Measured, ...], unchecked: tuple[Measured, ...]) -> Iterator[Row]:
    ours, theirs = _rates(_windows(checked)), _rates(_windows(unchecked))
    yield Row(
        title=f"throughput with Restate's signature checked, no step, {CALLERS} callers",
        figure=spread_of(ratios_of(ours, theirs)),
        unit="×",
        target=at_least(0.95),
        baseline=f"no check: {_figures(ours, theirs)}",
    )
    ours, theirs = _cpu_millis(checked), _cpu_millis(unchecked)
    figures = f"{spread_of(ours).median:.2f} ms a call here, {spread_of(theirs).median:.2f} ms there"
    yield Row(
        title="processor time of the cells with Restate's signature checked",
        figure=spread_of(ratios_of(ours, theirs)),
        unit="×",
        target=at_most(1.05),
        baseline=f"no check: {figures}",
    )


def _windows(turns: tuple[Measured, ...]) -> tuple[Window, ...]:
    return tuple(turn.window for turn in turns)


def _cpu_millis(turns: tuple[Measured, ...]) -> tuple[float, ...]:
    return tuple(turn.cpu_millis("cells") for turn in turns)


def _refusal_row(name: str, refusals: dict[str, tuple[Window, ...]]) -> Row:
    ours, theirs = _rates(refusals[name]), _rates(refusals[HEALTH])
    return Row(
        title=f"{name} requests refused",
        figure=spread_of(ratios_of(ours, theirs)),
        unit="×",
        target=at_least(0.5),
        baseline=f"answers of `/-/health`: {_figures(ours, theirs)}",
    )


def _rates(windows: tuple[Window, ...]) -> tuple[float, ...]:
    return tuple(window.rate for window in windows)


def _figures(ours: tuple[float, ...], theirs: tuple[float, ...]) -> str:
    return f"{spread_of(ours).median:.0f}/s here, {spread_of(theirs).median:.0f}/s there"
