"""Who makes a cluster, and what a node does that may or can not, on a fake bucket and a scripted Restate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gridiron.cluster import Cluster
from gridiron.errors import (
    BucketUnavailable,
    ClusterRejected,
    GridironError,
    ObjectDamaged,
    RestateUnavailable,
)
from gridiron.manager.founding import FOUNDER_KEY, Founding, found
from gridiron.restate.cluster import RestateCluster
from gridiron.settings import Settings
from gridiron.testing.objects import FakeObjects
from tests.unit.manager.conftest import make_settings

TABLE = Cluster.model_validate({"address": "10.0.0.1", "peers": ["10.0.0.2"], "bucket": "s3://ours/mesh"})


def node(directory: Path, name: str) -> Settings:
    settings = make_settings(directory / name, node_name=name, cluster=TABLE)
    settings.manager_state_dir.mkdir(parents=True)
    return settings


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridiron.manager.founding.PAUSE", timedelta(0))


def test_one_node_has_the_claim_for_good_and_the_other_says_once_that_it_waits(tmp_path: Path) -> None:
    bucket = FakeObjects()
    one, two = (Founding(bucket, node(tmp_path, name)) for name in ("n1", "n2"))
    with capture_logs() as logs:
        assert (one.claim(), one.claim()) == (True, True)
        assert logs == []
        assert (two.claim(), two.claim(), two.claim()) == (False, False, False)
    assert [(line["event"], line["by"], line["bucket"]) for line in logs] == [
        ("cluster.begun", "n1", bucket.url)
    ]
    assert "empty the bucket below its prefix" in logs[0]["advice"]


def test_a_node_that_has_lost_its_disk_is_another_of_its_name(tmp_path: Path) -> None:
    bucket = FakeObjects()
    assert Founding(bucket, node(tmp_path / "before", "n1")).claim()
    assert not Founding(bucket, node(tmp_path / "after", "n1")).claim()


class Scripted(RestateCluster):
    """A Restate that claims as long as it is not in a cluster, and then does what it is told to."""

    def __init__(self, *outcomes: GridironError | None) -> None:
        self.outcomes = list(outcomes)

    async def ensure_provisioned(
        self, peers: Collection[str], claim: Callable[[], Awaitable[bool]], partitions: int, replication: int
    ) -> bool:
        assert (list(peers), partitions, replication) == (["http://10.0.0.2:5122"], 8, 2)
        while not await claim():
            pass
        if (outcome := self.outcomes.pop(0)) is not None:
            raise outcome
        return True


@pytest.mark.parametrize(
    "failure",
    [
        ClusterRejected("provision", "not now"),
        RestateUnavailable("http://10.0.0.1:5122", "no answer in 30 s"),
    ],
)
async def test_what_restate_refuses_or_does_not_answer_is_tried_again(
    failure: GridironError, tmp_path: Path
) -> None:
    restate = Scripted(failure, None)
    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await found(restate, TABLE, node(tmp_path, "n1"), lambda: True)
    assert restate.outcomes == []
    assert [(line["event"], line.get("code")) for line in logs] == [
        ("cluster.not_made", failure.code),
        ("cluster.made", None),
    ]


@pytest.mark.parametrize(
    "failure",
    [BucketUnavailable("s3://ours/mesh", "gone"), ObjectDamaged("s3://ours/mesh", FOUNDER_KEY, "no JSON")],
)
async def test_a_claim_that_cannot_be_read_is_looked_at_again(failure: GridironError, tmp_path: Path) -> None:
    answers: list[GridironError | bool] = [failure, False, True]

    def claim() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, GridironError):
            raise answer
        return answer

    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await found(Scripted(None), TABLE, node(tmp_path, "n1"), claim)
    assert [(line["event"], line.get("code")) for line in logs] == [
        ("cluster.not_claimed", failure.code),
        ("cluster.made", None),
    ]


def test_a_damaged_claim_is_nobodys(tmp_path: Path) -> None:
    bucket = FakeObjects()
    bucket.create(FOUNDER_KEY, b"{")
    with pytest.raises(ObjectDamaged):
        Founding(bucket, node(tmp_path, "n1")).claim()
