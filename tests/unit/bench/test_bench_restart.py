from __future__ import annotations

from pathlib import Path

from bench.subjects.restart import render_config

CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "router", worker = .router),
    (name = "build-0", worker = .w0),
    (name = "build-1", worker = .w1),
  ],
  sockets = [(name = "data", address = "unix:workerd.sock", http = (), service = "router")],
);
const router :Workerd.Worker = (
  modules = [(name = "router.js", esModule = embed "restart_router.js")],
  compatibilityDate = "2026-10-01",
  bindings = [
    (name = "first/1.0.0", service = "build-0"),
    (name = "second/1.0.0", service = "build-1"),
  ],
);
const w0 :Workerd.Worker = (
  modules = [
    (name = "index.js", esModule = embed "build-0/index.js"),
    (name = "core.wasm", wasm = embed "build-0/core.wasm"),
  ],
  compatibilityDate = "2026-10-01",
);
const w1 :Workerd.Worker = (
  modules = [
    (name = "index.js", esModule = embed "build-1/index.js"),
  ],
  compatibilityDate = "2026-10-01",
);
"""


def test_each_build_is_a_service_that_the_router_reaches_by_its_path(tmp_path: Path) -> None:
    for file in ("build-0/index.js", "build-0/core.wasm", "build-1/index.js"):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.touch()
    builds = [("first/1.0.0", tmp_path / "build-0"), ("second/1.0.0", tmp_path / "build-1")]
    assert render_config(builds) == CONFIG
