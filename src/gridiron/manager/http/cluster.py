"""The routes over the cluster of a node. One that is alone answers each with a problem."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path

from gridiron.errors import NodeAlone
from gridiron.manager.cluster_api import ClusterStatus, Grown, NodeChanged, NodeRemoved
from gridiron.manager.cluster_control import ClusterControl
from gridiron.manager.health import HealthChecker
from gridiron.manager.http.guard import Acting
from gridiron.manager.http.problems import describe_problems

NodeName = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9-]{0,62}$", description="As `GET /cluster` has it.")]

PROBLEMS = describe_problems(404, 409, 422, 502, 503)


def add_cluster(app: FastAPI, control: ClusterControl | None, health: HealthChecker) -> None:
    """Serve what shows and changes the cluster; `control` is None where the node is in none."""

    def find_control() -> ClusterControl:
        if control is None:
            raise NodeAlone
        return control

    @app.get(
        "/cluster",
        summary="Show the cluster: its nodes, who leads what, what wants attention",
        responses=describe_problems(404, 503),
    )
    async def show_cluster() -> ClusterStatus:
        return await find_control().fetch_status(health.read())

    @app.post(
        "/cluster/nodes/{node}/drain",
        summary="Have a node lead nothing; its work goes on elsewhere",
        responses=PROBLEMS,
    )
    async def drain_node(node: NodeName, act: Acting) -> NodeChanged:
        cluster = find_control()
        async with act.change(node=node):
            return await cluster.drain(node)

    @app.post("/cluster/nodes/{node}/activate", summary="Let a drained node lead again", responses=PROBLEMS)
    async def activate_node(node: NodeName, act: Acting) -> NodeChanged:
        cluster = find_control()
        async with act.change(node=node):
            return await cluster.activate(node)

    @app.delete(
        "/cluster/nodes/{node}",
        summary="Remove a node that is down, for good",
        description="Where something is kept on it alone yet, 502 says so; the same request later goes on.",
        responses=PROBLEMS,
    )
    async def remove_node(node: NodeName, act: Acting) -> NodeRemoved:
        cluster = find_control()
        async with act.change(node=node):
            return await cluster.remove(node)

    @app.post(
        "/cluster/grow",
        summary="Keep everything on as many nodes as the settings say, once there are so many",
        responses=describe_problems(404, 502, 503),
    )
    async def grow(act: Acting) -> Grown:
        cluster = find_control()
        async with act.change():
            return await cluster.grow()
