"""Bad input gets a clear error with a stable code, and changes nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.model import MAX_MODULES_SIZE
from gridiron.testing.probe import ProbeBundles
from tests.harness import Client, pid_of, wait_until

MANIFEST = '{"name": "probe"}'


def bundle(directory: Path, **files: str | bytes) -> Path:
    directory.mkdir()
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (directory / name.replace("__", ".")).write_bytes(data)
    return directory


def linked(directory: Path) -> Path:
    made = bundle(directory, index__js="export default {}")
    (made / "other.js").symlink_to("/etc/passwd")
    return made


def oversized(directory: Path) -> Path:
    made = bundle(directory, index__js="export default {}")
    with (made / "large.bin").open("wb") as file:
        file.truncate(MAX_MODULES_SIZE + 1)
    return made


def a_file(path: Path) -> Path:
    path.write_text("export default {}")
    return path


SOURCES: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    # what: (how it is made, code, step)
    "does not exist": (lambda path: path, "source_missing", "stage"),
    "is no archive": (a_file, "archive_invalid", "stage"),
    "is empty": (bundle, "bundle_empty", "stage"),
    "has no main module": (lambda p: bundle(p, other__js="export {}"), "main_module_missing", "stage"),
    "is too large": (oversized, "bundle_too_large", "stage"),
    "has a symbolic link": (linked, "bundle_has_link", "stage"),
    "names a main outside": (
        lambda p: bundle(p, index__js="", metadata__json='{"main": "../index.js"}'),
        "manifest_invalid",
        "stage",
    ),
    "has a broken manifest": (
        lambda p: bundle(p, index__js="", metadata__json="{"),
        "manifest_invalid",
        "stage",
    ),
    "has a syntax error": (lambda p: bundle(p, index__js="export default {"), "script_failed", "discover"),
    "throws at its start": (
        lambda p: bundle(p, index__js='throw new Error("no luck"); export default {}'),
        "script_failed",
        "discover",
    ),
    "has no default export": (
        lambda p: bundle(p, index__js="export const a = 1"),
        "script_failed",
        "discover",
    ),
    "imports what is not there": (
        lambda p: bundle(p, index__js='import "./gone.js"; export default {}'),
        "script_failed",
        "discover",
    ),
    "serves no Restate service": (
        lambda p: bundle(p, index__js='export default { fetch: () => new Response("hello") }'),
        "no_restate_service",
        "discover",
    ),
    "has no fetch": (lambda p: bundle(p, index__js="export default {}"), "no_restate_service", "discover"),
}


@pytest.fixture(scope="module")
def shared_node(make_shared_node: Callable[[], Subject]) -> Subject:
    return make_shared_node()


@pytest.fixture(scope="module")
def shared(shared_node: Subject) -> Iterator[Client]:
    client = Client(shared_node)
    yield client
    client.close()


def left(node: Subject) -> set[str]:
    """What stands in the bundle directory, staging included."""
    root = node.settings.bundles_dir
    return {str(path.relative_to(root)) for path in root.rglob("*")} - {".staging"}


@pytest.mark.parametrize("what", SOURCES)
def test_a_source_that_cannot_be_deployed(
    what: str, shared: Client, shared_node: Subject, bundles: ProbeBundles, tmp_path: Path
) -> None:
    make, code, step = SOURCES[what]
    active = shared.activate(bundles.make("1"), "1")
    before = left(shared_node)
    body = {"source": make(tmp_path / "bad").as_uri(), "name": "probe", "version": "2"}
    response = shared.manager.post("/activate", json=body)
    problem = response.json()
    assert (response.status_code, problem["code"], problem["step"]) == (422, code, step), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["build_id"].startswith("probe-2-")
    assert left(shared_node) == before
    assert [b["build_id"] for b in shared.builds(state="active")] == [active["build_id"]]
    assert shared.call("probe", "version") == "1"


def test_the_script_s_own_error_is_in_the_answer(shared: Client, tmp_path: Path) -> None:
    thrown = bundle(tmp_path / "bad", index__js='throw new Error("no luck"); export default {}')
    body = {"source": thrown.as_uri(), "name": "probe", "version": "2"}
    assert "no luck" in shared.manager.post("/activate", json=body).json()["detail"]


GOOD: dict[str, Any] = {"source": "file:///nowhere", "name": "probe", "version": "1"}
BODIES: dict[str, tuple[Any, str, int]] = {
    "is no JSON": (b"{", "request_invalid", 422),
    "is no text": (b'"\xff"', "request_invalid", 422),
    "is no object": ([], "request_invalid", 422),
    "lacks a field": ({"source": "file:///x", "name": "probe"}, "request_invalid", 422),
    "has an unknown field": ({**GOOD, "colour": "red"}, "request_invalid", 422),
    "has a wrong type": ({**GOOD, "vars": 1}, "request_invalid", 422),
    "has a bad digest": ({**GOOD, "sha256": "abc"}, "request_invalid", 422),
    "has a bad name": ({**GOOD, "name": "Probe!"}, "name_invalid", 422),
    "has a name that is a path": ({**GOOD, "name": "../probe"}, "name_invalid", 422),
    "has a bad version": ({**GOOD, "version": "1/2"}, "version_invalid", 422),
    "has an unknown scheme": ({**GOOD, "source": "gopher://x"}, "source_scheme_unsupported", 422),
    "has a relative source": ({**GOOD, "source": "./x"}, "source_scheme_unsupported", 422),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_cannot_be_used(what: str, shared: Client, shared_node: Subject) -> None:
    body, code, status = BODIES[what]
    before = left(shared_node)
    headers = {"content-type": "application/json"}
    response = (
        shared.manager.post("/activate", content=body, headers=headers)
        if isinstance(body, bytes)
        else shared.manager.post("/activate", json=body)
    )
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert left(shared_node) == before


def test_another_digest_than_asked_for(shared: Client, bundles: ProbeBundles) -> None:
    body = {**GOOD, "source": bundles.make("9").as_uri(), "sha256": "0" * 64}
    response = shared.manager.post("/activate", json=body)
    assert (response.status_code, response.json()["code"], response.json()["step"]) == (
        422,
        "digest_mismatch",
        "stage",
    )


@pytest.mark.parametrize("build_id", ["gone-1-1", "..", "a b", "%2e%2e%2f"])
def test_an_unknown_build_on_every_endpoint(build_id: str, shared: Client) -> None:
    answers = [
        shared.manager.get(f"/deployments/{build_id}"),
        shared.manager.post("/prune", json={"build_id": build_id}),
        shared.manager.post("/prune", json={"build_id": build_id, "force": True}),
        shared.manager.post("/prune", json={"build_id": build_id, "dry_run": True}),
    ]
    codes = {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert codes <= {(404, "build_not_found"), (404, "path_not_found")}


def test_a_build_that_was_pruned_is_unknown_on_every_endpoint(shared: Client, bundles: ProbeBundles) -> None:
    old = shared.activate(bundles.make("1", "pruned"), "1", name="pruned")["build_id"]
    shared.activate(bundles.make("2", "pruned"), "2", name="pruned")
    pruned = wait_until(lambda: (r := shared.manager.post("/prune", json={"build_id": old})).is_success and r)
    assert [(p["build_id"], p["files_removed"]) for p in pruned.json()["pruned"]] == [(old, True)]
    assert shared.manager.get(f"/deployments/{old}").json()["code"] == "build_not_found"
    for body in ({"build_id": old}, {"build_id": old, "force": True}):
        again = shared.manager.post("/prune", json=body)
        assert (again.status_code, again.json()["code"]) == (404, "build_not_found")
    assert shared.call("pruned", "version") == "2"


def test_an_active_build_is_not_pruned_unless_forced(shared: Client, bundles: ProbeBundles) -> None:
    others = [build["build_id"] for build in shared.builds()]
    active = shared.activate(bundles.make("1", "forced"), "1", name="forced")["build_id"]
    refused = shared.manager.post("/prune", json={"build_id": active})
    assert (refused.status_code, refused.json()["code"], refused.json()["invocations"]) == (
        409,
        "build_in_use",
        0,
    )
    assert shared.call("forced", "version") == "1"
    forced = shared.manager.post("/prune", json={"build_id": active, "force": True})
    assert forced.status_code == 200
    assert [build["build_id"] for build in shared.builds()] == others


def test_a_restate_that_is_down_changes_nothing(
    shared: Client, shared_node: Subject, bundles: ProbeBundles
) -> None:
    active = shared.activate(bundles.make("1", "down"), "1", name="down")["build_id"]
    restate = pid_of(shared_node, "restate-server")
    os.kill(restate, signal.SIGSTOP)  # it accepts connections and never answers, the worst way to be down
    try:
        before = left(shared_node)
        body = {"source": bundles.make("2", "down").as_uri(), "name": "down", "version": "2"}
        with ThreadPoolExecutor() as pool:  # each waits for long
            activating = pool.submit(lambda: shared.manager.post("/activate", json=body))
            listing = pool.submit(lambda: shared.builds(name="down"))
            pruning = pool.submit(
                lambda: shared.manager.post("/prune", json={"build_id": active, "force": True})
            )
            response, (shown,), refused = activating.result(), listing.result(), pruning.result()
        assert (response.status_code, response.json()["code"]) == (503, "restate_unavailable")
        assert left(shared_node) == before
        assert (shown["build_id"], shown["state"]) == (active, "unknown")
        assert (refused.status_code, refused.json()["code"]) == (503, "drain_unknown")
        ready = shared.manager.get("/health/ready")
        assert ready.status_code == 503
        assert {c["name"]: c["ready"] for c in ready.json()["components"]}["restate admin"] is False
        assert shared.manager.get("/health/live").status_code == 200
    finally:
        os.kill(restate, signal.SIGCONT)
    wait_until(lambda: shared.manager.get("/health/ready").status_code == 200)
    assert shared.call("down", "version") == "1"


def test_activations_of_one_name_at_once_wait_for_each_other(shared: Client, bundles: ProbeBundles) -> None:
    bodies = [
        {"source": bundles.make(str(number), "busy").as_uri(), "name": "busy", "version": str(number)}
        for number in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: shared.manager.post("/activate", json=body), bodies))
    assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
    last = max((answer.json() for answer in answers), key=lambda answer: answer["build_id"].split("-")[-1])
    assert [build["build_id"] for build in shared.builds(name="busy", state="active")] == [last["build_id"]]
    assert shared.call("busy", "version") == last["build_id"].split("-")[1]


ENDLESS = """
const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));
export default {
  fetch() {
    const { readable, writable } = new TransformStream();
    (async () => {
      const writer = writable.getWriter();
      for (;;) {
        await writer.write(new Uint8Array(%d));
        await pause(%d);
      }
    })();
    return new Response(readable, { headers: { "content-type": "text/event-stream" } });
  },
};
"""
SILENT = "export default { fetch: () => new Promise((resolve) => setTimeout(resolve, 3_600_000)) };"
GIVE_NO_WHOLE_ANSWER = {"drips": ENDLESS % (10, 500), "floods": ENDLESS % (100_000, 10), "silent": SILENT}


def test_a_bundle_that_gives_no_whole_answer_is_told_so_and_holds_up_nobody(
    shared: Client, shared_node: Subject, bundles: ProbeBundles, tmp_path: Path
) -> None:
    before = left(shared_node)
    bodies = [
        {"source": bundle(tmp_path / name, index__js=source).as_uri(), "name": name, "version": "1"}
        for name, source in GIVE_NO_WHOLE_ANSWER.items()
    ]
    with ThreadPoolExecutor() as pool:  # Restate waits for 30 s
        activating = [pool.submit(shared.manager.post, "/activate", json=body) for body in bodies]
        other = shared.activate(bundles.make("1", "other"), "1", name="other")
        assert shared.call("other", "version") == "1"
        assert not any(each.done() for each in activating)
        answers = [each.result() for each in activating]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [
        (422, "no_restate_service")
    ] * len(answers), [each.text for each in answers]
    shared.manager.post("/prune", json={"build_id": other["build_id"], "force": True})
    assert left(shared_node) == before
    for name in GIVE_NO_WHOLE_ANSWER:  # its turn is free again
        assert shared.activate(bundles.make("2", name), "2", name=name)["outcome"] == "activated"


def test_a_path_that_there_is_not_is_a_problem_too(shared: Client) -> None:
    response = shared.manager.get("/nothing")
    assert (response.status_code, response.json()["code"]) == (404, "path_not_found")
    response = shared.manager.delete("/activate")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
