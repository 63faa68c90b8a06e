"""The demo's story: each step does what a user would do, and checks what a user would look for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from gridiron.cli.demo.callers import Callers, Tally, parse_version
from gridiron.cli.demo.subject import Subject
from gridiron.errors import GridironError

OLD, NEW = "1.0.0", "1.1.0"
SLOW_SECONDS = 20
"""How long the slow durable call sleeps: longer than the upgrade takes, short enough to wait for."""

ANSWERS_AROUND = 20
"""Answers that the callers get before the upgrade begins, and from the new version before it ends."""

WAIT_LIMIT_SECONDS = 30


@dataclass(eq=False)
class DemoFailed(GridironError):
    """A step of the demo did not show what it should."""

    code = "demo_failed"
    sentence = "{step}: {what}"
    step: str
    what: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step that held."""

    name: str
    seconds: float
    shown: str


class Story:
    """The demo as it goes along. `demo` is a copy of the demo projects that may be changed."""

    def __init__(self, subject: Subject, demo: Path, report: Callable[[Step], None]) -> None:
        self.steps: list[Step] = []
        self.answers: dict[str, Any] = {}
        self.builds: dict[str, str] = {}  # "greeter 1.0.0" -> build id
        self.pruned: list[str] = []
        self.tally = Tally()
        self._subject = subject
        self._demo = demo
        self._report = report
        self._slow_id = ""

    def tell(self) -> None:
        """Go through all steps. Raises DemoFailed, or what a step raised, at the first that does not hold."""
        story: tuple[tuple[str, Callable[[], str]], ...] = (
            ("boot a node", self._subject.start),
            ("deploy greeter 1.0.0", lambda: self._deploy("greeter")),
            ("deploy counter", lambda: self._deploy("counter")),
            ("deploy primes, which is Wasm", lambda: self._deploy("primes")),
            ("call all three", self._call_all),
            ("start a slow durable call", self._send_slow),
            ("deploy greeter 1.1.0 under load", self._upgrade),
            ("the slow call ends on 1.0.0", self._await_slow),
            ("1.0.0 drains and is pruned", self._await_pruned),
            ("restart the node", self._restart),
        )
        for name, act in story:
            began = time.monotonic()
            shown = act()
            self.steps.append(Step(name, round(time.monotonic() - began, 2), shown))
            self._report(self.steps[-1])

    def _deploy(self, project: str) -> str:
        activated = self._subject.run("deploy", str(self._demo / project))
        build_id = str(activated["build_id"])
        self.builds[f"{project} {self._shown(build_id)['version']}"] = build_id
        services = ", ".join(activated["services"])
        return f"{build_id} serves {services} after {activated['timings_ms']['total']} ms"

    def _call_all(self) -> str:
        self.answers["greeter"] = self._call("greeter", "greet", "Ada")
        self._call("counter/visits", "add", 2)
        self.answers["counter"] = self._call("counter/visits", "add", 3)
        self.answers["primes"] = self._call("primes", "count", {"below": 100_000})
        _expect("call all three", OLD in self.answers["greeter"], self.answers["greeter"])
        return "; ".join(f"{name} {answer!r}" for name, answer in self.answers.items())

    def _call(self, target: str, handler: str, argument: object) -> Any:  # noqa: ANN401 - JSON
        return self._fetch("POST", f"/{target}/{handler}", argument)

    def _send_slow(self) -> str:
        sent = self._fetch("POST", "/greeter/slow/send", {"name": "Grace", "seconds": SLOW_SECONDS})
        self._slow_id = str(sent["invocationId"])
        old = self.builds[f"greeter {OLD}"]
        # from its first journal entry on it is pinned: only now does the upgrade prove anything
        _wait("start a slow durable call", lambda: self._shown(old)["invocations"]["pinned"] > 0)
        return f"{self._slow_id} sleeps {SLOW_SECONDS} s"

    def _upgrade(self) -> str:
        name = "deploy greeter 1.1.0 under load"
        self._change_version()
        with Callers(self._subject.settings.ingress_url) as callers:
            _wait(name, lambda: callers.answers_of(OLD) >= ANSWERS_AROUND)
            self._deploy("greeter")
            after = self._call("greeter", "greet", "Ada")  # sent after the deployment was announced
            _wait(name, lambda: callers.answers_of(NEW) >= ANSWERS_AROUND)
        self.tally = callers.tally
        self.answers["greeter after the upgrade"] = after
        _expect(
            name,
            not self.tally.failures,
            f"{len(self.tally.failures)} calls failed: {self.tally.failures[:3]}",
        )
        _expect(name, parse_version(after) == NEW, f"a call after the deployment was answered {after!r}")
        counts = ", ".join(f"{count} by {version}" for version, count in sorted(self.tally.versions.items()))
        return f"{self.tally.calls} calls, {len(self.tally.failures)} failed; answered {counts}"

    def _change_version(self) -> None:
        """Edit the code, as a developer would: the version is one line of the greeter."""
        source = self._demo / "greeter" / "src" / "index.ts"
        text = source.read_text()
        _expect("edit greeter", text.count(f'"{OLD}"') == 1, f"{source} has no single line with {OLD}")
        source.write_text(text.replace(f'"{OLD}"', f'"{NEW}"'))
        package = self._demo / "greeter" / "package.json"
        package.write_text(package.read_text().replace(OLD, NEW))

    def _await_slow(self) -> str:
        state = self._shown(self.builds[f"greeter {OLD}"])["state"]
        _expect("the slow call ends on 1.0.0", state == "draining", f"1.0.0 is {state} while it is needed")
        answer = str(self._fetch("GET", f"/restate/invocation/{self._slow_id}/attach"))
        self.answers["slow"] = answer
        began_and_ended_on = re.findall(r"greeter (\d+\.\d+\.\d+)", answer)
        _expect("the slow call ends on 1.0.0", began_and_ended_on == [OLD, OLD], answer)
        return repr(answer)

    def _await_pruned(self) -> str:
        old = self.builds[f"greeter {OLD}"]
        _wait("1.0.0 drains and is pruned", lambda: self._shown(old)["state"] == "retired")
        shown = self._shown(old)
        loaded = [cell["cell"] for node in shown["nodes"] for cell in node["cells"] if cell["loaded"]]
        _expect("1.0.0 drains and is pruned", shown["deployment_id"] is None, "it is still registered")
        _expect("1.0.0 drains and is pruned", not loaded, f"it is still loaded in {loaded}")
        self.pruned.append(old)
        return f"{old} is unregistered and unloaded; its files stay for a rollback"

    def _restart(self) -> str:
        before = self._subject.run("ls")
        self._subject.stop()
        self._subject.start()
        after = self._subject.run("ls")
        _expect("restart the node", _lasting(after) == _lasting(before), f"before {before}, after {after}")
        again = {
            "greeter": self._call("greeter", "greet", "Ada"),
            "counter": self._fetch("POST", "/counter/visits/get"),
            "primes": self._call("primes", "count", {"below": 100_000}),
        }
        kept = {**self.answers, "greeter": self.answers["greeter after the upgrade"]}
        _expect("restart the node", all(again[key] == kept[key] for key in again), f"answers are {again}")
        return f"{len(_lasting(after))} builds as they were; the counter is still {again['counter']}"

    def _shown(self, build_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self._subject.run("show", build_id)
        return shown

    def _fetch(self, method: str, path: str, argument: object = None) -> Any:  # noqa: ANN401 - JSON
        url = self._subject.settings.ingress_url
        with httpx2.Client(base_url=url, timeout=WAIT_LIMIT_SECONDS) as ingress:
            response = (
                ingress.request(method, path, json=argument)
                if argument is not None
                else ingress.request(method, path)
            )
        _expect(f"{method} {path}", response.is_success, f"HTTP {response.status_code}: {response.text}")
        return response.json()


def _lasting(listed: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """Take out of `gridiron ls` what a restart must not change."""
    return [(build["build_id"], build["state"], build["deployment_id"]) for build in listed["deployments"]]


def _expect(step: str, holds: bool, what: str) -> None:
    if not holds:
        raise DemoFailed(step, what)


def _wait(step: str, condition: Callable[[], bool]) -> None:
    """Wait for a condition. Raises DemoFailed after a while."""
    deadline = time.monotonic() + WAIT_LIMIT_SECONDS
    while not condition():
        _expect(step, time.monotonic() < deadline, f"not so after {WAIT_LIMIT_SECONDS} s")
        time.sleep(0.1)
