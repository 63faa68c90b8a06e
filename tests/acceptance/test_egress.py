"""A service on a real node tries to take the node over from within, and reaches nothing but the internet."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import Settings, load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from tests.harness import Client
from tests.namespace import Target, network

SOURCE = """
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import { connect } from "cloudflare:sockets";
const VERSION = "@VERSION@";
const tried = async (attempt) => {
  try { return `reached: ${await attempt()}`; } catch (error) { return `refused: ${error}`; }
};
const hostile = restate.service({
  name: "@SERVICE@",
  handlers: {
    // answers what came of each request, and of a connection to its host
    reach: async (ctx, requests) => Promise.all(requests.flatMap(({ url, ...options }) => [
      tried(async () => (await fetch(url, options)).status),
      tried(async () => { await connect(new URL(url).host).opened; }),
    ])),
    version: async () => VERSION,
  },
});
const bidirectional = JSON.parse("@BIDIRECTIONAL@");
export default { fetch: restate.createEndpointHandler({ services: [hostile], bidirectional }) };
"""
PUBLIC, PRIVATE = "203.0.113.7", "10.99.77.1"


@pytest.fixture
def target() -> Iterator[Target]:
    with network(PUBLIC, PRIVATE), Target() as target:
        yield target


@pytest.fixture
def hostile(tmp_path_factory: pytest.TempPathFactory) -> ProbeBundles:
    directory = tmp_path_factory.mktemp("hostile")
    built = build_probe(find_toolchain(load_settings()), directory / "built", SOURCE)
    return ProbeBundles(built, directory / "made")


def attacks(settings: Settings, build_id: str, deployment_id: str) -> list[dict[str, Any]]:
    """Requests that would do harm, or tell something, at every port of the node that speaks HTTP."""
    json = {"headers": {"content-type": "application/json"}, "method": "POST"}
    return [
        {"url": f"{settings.manager_url}/deployments"},
        {
            "url": f"{settings.manager_url}/prune",
            "body": f'{{"build_id": "{build_id}", "force": true}}',
            **json,
        },
        {"url": f"{settings.restate_admin_url}/deployments"},
        {"url": f"{settings.restate_admin_url}/deployments/{deployment_id}?force=true", "method": "DELETE"},
        {"url": f"{settings.ingress_url}/hostile/version", "body": "null", **json},
        {"url": f"{settings.workers_url}/-/health"},
        {"url": f"http://localhost:{settings.ports.fabric}/"},
    ]


def at(host: str, attack: dict[str, Any]) -> dict[str, Any]:
    return {**attack, "url": attack["url"].replace("localhost", host)}


@pytest.mark.parametrize("opened", ["", "10.99.0.0/16"])
def test_a_service_reaches_no_port_of_its_node(
    target: Target, make_node: Callable[..., Subject], hostile: ProbeBundles, opened: str
) -> None:
    node = make_node(cells=1, egress_allow=opened)
    client = Client(node)
    build_id = client.activate(hostile.make("1", "hostile"), "1", name="hostile")["build_id"]
    deployment_id = client.show(build_id)["deployment_id"]
    ask_for(node.settings)
    outside = [{"url": f"http://{host}:{target.port}/"} for host in (PUBLIC, PRIVATE)]
    inside = [
        at(host, attack)
        for attack in attacks(node.settings, build_id, deployment_id)
        for host in ("localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0")  # noqa: S104 - nothing listens
    ]
    outcomes = client.call("hostile", "reach", outside + inside)
    assert len(outcomes) == 2 * len(outside + inside)
    assert [outcome.partition(":")[0] for outcome in outcomes[:4]] == [
        *("reached", "reached"),
        *(("reached", "reached") if opened else ("refused", "refused")),
    ]
    assert [outcome for outcome in outcomes[4:] if not outcome.startswith("refused")] == []
    assert set(target.accepted) == ({PUBLIC, PRIVATE} if opened else {PUBLIC})
    # so nothing was pruned or unregistered
    shown = client.show(build_id)
    assert (shown["state"], shown["deployment_id"]) == ("active", deployment_id)
    assert client.call("hostile", "version") == "1"
    client.close()


def ask_for(settings: Settings) -> None:
    """Show that all ports are there, for this process."""
    assert httpx2.get(f"{settings.manager_url}/health/live").status_code == 200
    assert httpx2.get(f"{settings.restate_admin_url}/deployments").status_code == 200
    assert httpx2.post(f"{settings.ingress_url}/hostile/version").text == '"1"'
    assert httpx2.get(f"{settings.workers_url}/-/health").status_code == 200
    socket.create_connection(("127.0.0.1", settings.ports.fabric), 5).close()
