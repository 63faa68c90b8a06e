"""The first call after an activation against the tenth: is anything left to be warmed up?"""

from __future__ import annotations

import http.client
import json
import time

from bench.harness import BenchFailed, Lines, Outcome, Row, at_most, ratios_of, spread_of
from bench.session import Session
from bench.subjects.node import running_node

SERVICE = "fresh"
CALLS = 10
HEADERS = {"content-type": "application/json"}


def measure(session: Session) -> Outcome:
    """Activate one version after the other; call each some times, one call after another."""
    activations = session.choose(full=40, quick=3)
    with running_node(session, "data") as node:
        session.say(f"{activations} activations, {CALLS} calls after each")
        rows = []
        for number in range(activations + 1):
            version = str(number)
            node.activate(session.bundles.make(version, SERVICE), SERVICE, version)
            rows.append(_call(node.ingress_port, version))
    millis = tuple(zip(*rows[1:], strict=True))  # the first activation of all warms up
    medians = [spread_of(each).median for each in millis]
    return Outcome(
        rows=(
            Row(
                title="first call after an activation",
                figure=spread_of(ratios_of(millis[0], millis[-1])),
                unit="×",
                target=at_most(3),
                baseline=f"the tenth call: {medians[0]:.1f} ms against {medians[-1]:.1f} ms",
            ),
        ),
        plots=(
            Lines(
                name="first-call",
                title="Calls after an activation",
                x_title="call",
                y_title="milliseconds",
                series={"gridiron": tuple(enumerate(medians, start=1))},
            ),
        ),
        series={f"call {number}, milliseconds": each for number, each in enumerate(millis, start=1)},
    )


def _call(port: int, version: str) -> list[float]:
    """Call the service some times over a connection that is there; give the milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    millis = []
    for _ in range(CALLS):
        began = time.perf_counter()
        connection.request("POST", f"/{SERVICE}/one", body="null", headers=HEADERS)
        response = connection.getresponse()
        body = response.read()
        millis.append((time.perf_counter() - began) * 1000)
        if response.status != 200 or json.loads(body) != version:
            raise BenchFailed(f"a call answered {response.status} {body!r}, not {version}")
    connection.close()
    return millis
