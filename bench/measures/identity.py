"""What the check of Restate's signature costs a call, and what it costs to refuse a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

VERSION, NAME = "1.0.0", "gridiron"
CHECKED, UNCHECKED = "checked", "unchecked"
HEALTH, UNSIGNED, FORGED = "health", "unsigned", "forged"
HANDLER = "none"  # no step: the shortest call that there is
CALLERS = 8
WINDOW_SECONDS = 4

NO_CHECK = "export const findRefusal = () => null; export const findKeysProblem = async () => null;"
"""Stands in for `identity.js`: every request is let in."""


def measure(session: Session) -> Outcome:
    """Call a node in turn with one whose cells check nothing, then have it refuse requests."""
    with running_node(session, CHECKED) as checked, running_unchecked(session) as unchecked:
        for node in (checked, unchecked):
            built = node.activate(session.bundles.make(VERSION, NAME), NAME, VERSION)
            check_lets_in(f"{node.settings.workers_url}{built['path']}/discover", node is unchecked)
        session.say(f"calls, {CHECKED} and {UNCHECKED} in turn")
        nodes = {CHECKED: checked, UNCHECKED: unchecked}
        calls = take_turns(
            {name: _caller(session, node) for name, node in nodes.items()}, session.choose(full=30, quick=1)
        )
        session.say(f"{HEALTH}, {UNSIGNED}, {FORGED} in turn")
        refusals = take_turns(
            {name: _asker(session, requests) for name, requests in plan_refusals(checked).items()},
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


@contextmanager
def running_unchecked(session: Session) -> Iterator[Node]:
    """Run a node whose cells let every request in: a template of its own puts `NO_CHECK` into them."""
    template = session.work / "unchecked.capnp"
    template.write_text(render_unchecked(shared_path("config/workerd-template.capnp")))
    with running_node(session, UNCHECKED, workerd_template_path=template) as node:
        yield node


def check_lets_in(url: str, expected: bool) -> None:  # noqa: FBT001 - what is compared
    """Raise BenchFailed unless a node lets in what is not signed, or does not, as expected."""
    if (httpx2.get(url).status_code != 401) is not expected:
        raise BenchFailed(f"{url} was to {'let in' if expected else 'refuse'} what is not signed")


def render_unchecked(shipped: Path) -> str:
    """Change the template that is shipped. Raises ValueError where it is not as it was."""
    embedding = "embed {{ script.file }}"
    before, found, after = shipped.read_text().partition(embedding)
    if not found:
        raise ValueError(f"{shipped} has no `{embedding}`")
    chosen = (
        f"{{% if script.module == 'identity.js' %}}{{{{ '{NO_CHECK}' }}}}{{% else %}}{embedding}{{% endif %}}"
    )
    return before + chosen + after


def plan_refusals(node: Node) -> dict[str, Requests]:
    """Say what to ask for at the workers' port of a node: its health, and what it refuses."""
    path = f"/invoke/{NAME}/{HANDLER}"
    uri = node.settings.workers_url.replace("localhost", "127.0.0.1")
    url = f"{uri}/{NAME}/{VERSION}-1{path}"
    file = IdentityStore.of(node.settings).signing_key
    kid = kid_of(parse_private_key(str(file), file.read_bytes()).public_key())
    foreign = Ed25519PrivateKey.generate()
    token = sign_token(foreign, {"typ": "JWT", "alg": "EdDSA", "kid": kid}, {"aud": path})
    forged = {"x-restate-signature-scheme": "v1", "x-restate-jwt-v1": token}
    return {
        HEALTH: _plan(f"{uri}/-/health", {}),
        UNSIGNED: _plan(url, {}),
        FORGED: _plan(url, forged),
    }


def _plan(url: str, headers: dict[str, str]) -> Requests:
    answer = httpx2.post(url, headers=headers)
    return Requests(url, answer.text, answer.status_code, headers)


def _caller(session: Session, node: Node) -> Callable[[], Measured]:
    calls = Calls(node.ingress_port, NAME, HANDLER, VERSION)

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
