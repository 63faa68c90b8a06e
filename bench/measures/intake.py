"""How fast a bundle comes in, and how much memory the manager takes meanwhile.

A bundle of 60 MB is activated from each kind of source in turn. Its time is that of the steps `stage` and
`store`, after which it is on the disk for good; a copy by `cp` with `sync` stands beside it in each round.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from bench.harness import Outcome, Row, Spread, at_least, at_most, ratios_of, spread_of, take_turns, timed
from bench.session import Session
from bench.subjects.node import Node, running_node
from bench.subjects.processes import PeakMemory
from gridiron.bundles.pack import pack
from gridiron.workers.memory import MEBIBYTE
from tests.seaweed import running_seaweed

NAME = "large"
MEGABYTE = 1_000_000
FAST_ENOUGH = 100  # MB/s
COPY = 'cp -r "$0" "$1" && sync "$1"/*'
MEMORY = 30  # MiB above idle, at the most


def measure(session: Session) -> Outcome:
    """Take the bundle in from everywhere, round after round."""
    size = session.choose(full=60, quick=3) * MEGABYTE
    bundle = session.bundles.make("1", NAME)
    (bundle / "data.bin").write_bytes(os.urandom(size))
    archives = session.work / "archives"
    archives.mkdir()
    pack(bundle, archives / "bundle.tar.gz")
    shutil.make_archive(str(archives / "bundle"), "zip", bundle)
    with (
        serving(archives) as url,
        running_seaweed() as seaweed,
        _environment(seaweed.environment),
        running_node(session, "data", source_http=True, source_allow="127.0.0.0/8") as node,
    ):
        seaweed.put("bundle.tar.gz", (archives / "bundle.tar.gz").read_bytes())
        sources: dict[str, Callable[[], str]] = {
            "a directory": bundle.as_uri,
            "a .tar.gz": (archives / "bundle.tar.gz").as_uri,
            "a .zip": (archives / "bundle.zip").as_uri,
            "an upload": partial(node.upload, archives / "bundle.tar.gz"),
            "http": lambda: f"{url}/bundle.tar.gz",
            "s3": lambda: "s3://bundles/bundle.tar.gz",
        }
        node.prune(node.activate(session.bundles.make("1", "small"), "small", "1")["build_id"])
        idle = PeakMemory(node.manager_pid).begin
        turns_of: dict[str, Callable[[], dict[str, float]]] = {
            name: partial(_take_in, node, source) for name, source in sources.items()
        }
        turns_of["cp"] = partial(_copy, bundle, session.work / "copy")
        session.say("rounds")
        turns = take_turns(turns_of, session.choose(full=7, quick=2))
        return _report(turns, size, idle)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve the files of a directory over http; give the URL."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(directory)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _take_in(node: Node, source: Callable[[], str]) -> dict[str, float]:
    """Activate and remove a bundle; give the seconds until it was stored, and the manager's peak memory."""
    memory = PeakMemory(node.manager_pid)
    activated: Any = node.activate_source(source(), NAME, "1")
    peak = memory.fetch_peak()
    node.prune(activated["build_id"])
    spent = activated["timings_ms"]
    return {"seconds": (spent["stage"] + spent["store"]) / 1000, "peak": peak}


def _copy(bundle: Path, target: Path) -> dict[str, float]:
    _, millis = timed(lambda: subprocess.run(["/bin/sh", "-c", COPY, bundle, target], check=True))
    shutil.rmtree(target)
    return {"seconds": millis / 1000}


def _report(turns: Mapping[str, tuple[dict[str, float], ...]], size: int, idle: float) -> Outcome:
    rates = {name: [size / MEGABYTE / each["seconds"] for each in figures] for name, figures in turns.items()}
    medians = {name: spread_of(each).median for name, each in rates.items()}
    wanted = [min(FAST_ENOUGH, rate) for rate in rates["cp"]]
    shown = ", ".join(f"{name} {rate:.0f}" for name, rate in medians.items())
    peaks: dict[str, Spread] = {
        name: spread_of([(each["peak"] - idle) / MEBIBYTE for each in figures])
        for name, figures in turns.items()
        if name != "cp"
    }
    return Outcome(
        rows=(
            Row(
                title="taking in a directory of the disk",
                figure=spread_of(ratios_of(rates["a directory"], wanted)),
                unit="×",
                target=at_least(1),
                baseline=f"{FAST_ENOUGH} MB/s or `cp` with `sync`, whichever is less; MB/s: {shown}",
            ),
            *(
                Row(
                    title=f"memory of the manager while {name} comes in, above idle",
                    figure=peak,
                    unit="MiB",
                    target=at_most(MEMORY),
                    baseline=f"idle: {idle / MEBIBYTE:.0f} MiB; a bundle of {size / MEGABYTE:.0f} MB",
                )
                for name, peak in peaks.items()
            ),
        )
    )
