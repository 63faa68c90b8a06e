"""What must be so when all is done: findings from the ledger and from what is left of the node. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from gridiron.model import State
from soak.history import History
from soak.ledger import Fault, Finding, Ledger
from soak.sight import Listed


@dataclass(frozen=True, slots=True)
class Remains:
    """What a node has when nothing calls it any more."""

    listed: tuple[Listed, ...]  # by the manager
    directories: frozenset[str]  # in the bundle directory
    staging: frozenset[str]  # what lies in its staging
    registrations: Mapping[str, str]  # Restate's: deployment id -> uri
    invocations: Mapping[str, int]  # that Restate has not completed, by what keeps them from it
    loaded: Mapping[str, frozenset[str]]  # cell -> paths of builds
    answers: Mapping[str, str]  # name -> version that answers


def judge(ledger: Ledger, remains: Remains) -> tuple[Finding, ...]:
    """Say what is wrong with what is left."""
    builds = [Finding(Fault.BUILD, text) for text in _find_lost(ledger, remains)]
    return (*builds, *(Finding(Fault.LEAK, text) for text in _find_leaks(ledger, remains)))


def _find_lost(ledger: Ledger, remains: Remains) -> Iterator[str]:
    listed = {build.build_id for build in remains.listed}
    for name, history in ledger.histories.items():
        for build_id in sorted(history.shelf.required - (listed & remains.directories)):
            yield f"{build_id} was acknowledged, may not be gone, and is"
        yield from _find_usurper(name, history, remains)


def _find_usurper(name: str, history: History, remains: Remains) -> Iterator[str]:
    """See that the build that has to be active is, and answers."""
    expected = history.find_newest()
    active = {
        build.build_id: build.address.version
        for build in remains.listed
        if build.address.name == name and build.state is State.ACTIVE
    }
    if len(active) != 1 or not active.keys() <= expected:
        yield f"{name}: {_listed(active)} is active, and {_listed(expected)} has to be"
    if remains.answers.get(name) not in active.values():
        yield f"{name}: {remains.answers.get(name)} answers, and {_listed(active)} is active"


def _find_leaks(ledger: Ledger, remains: Remains) -> Iterator[str]:
    listed = {build.build_id for build in remains.listed}
    known = {build_id for history in ledger.histories.values() for build_id in history.build_ids}
    yield from (f"{entry} lies in staging" for entry in sorted(remains.staging))
    yield from (f"{entry} lies there and is not listed" for entry in sorted(remains.directories - listed))
    yield from (f"{build_id} is listed and has no files" for build_id in sorted(listed - remains.directories))
    yield from (f"{build_id} comes of nothing that was acknowledged" for build_id in sorted(listed - known))
    for build in remains.listed:
        if build.state not in {State.ACTIVE, State.RETIRED}:
            yield f"{build.build_id} is {build.state} still: {build.reason}"
    yield from _find_leaks_of_restate(remains)
    yield from _find_leaks_of_cells(remains)


def _find_leaks_of_restate(remains: Remains) -> Iterator[str]:
    serving = _paths_serving(remains)
    for deployment_id, uri in sorted(remains.registrations.items()):
        if urlsplit(uri).path.rstrip("/") not in serving:
            yield f"{deployment_id} is registered at {uri}, where no build serves"
    for reason, count in sorted(remains.invocations.items()):
        yield f"{count} invocations are not completed: {reason}"


def _find_leaks_of_cells(remains: Remains) -> Iterator[str]:
    serving = _paths_serving(remains)
    for cell, paths in sorted(remains.loaded.items()):
        yield from (f"{cell} has {path} loaded, which is not active" for path in sorted(paths - serving))


def _paths_serving(remains: Remains) -> frozenset[str]:
    return frozenset(build.address.path for build in remains.listed if build.state is State.ACTIVE)


def _listed(values: Mapping[str, object] | frozenset[str]) -> str:
    return ", ".join(sorted(values)) or "nothing"
