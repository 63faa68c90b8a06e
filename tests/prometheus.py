"""A real Prometheus that reads a node, and what expressions name. Debian's package `prometheus` has it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml
from prometheus_client.core import Metric

from gridiron.access.tls import NO_TLS
from gridiron.access.tokens import ADMIN_FILE
from gridiron.cli.credentials import read_token
from gridiron.settings import Settings, checkout
from tests.harness import wait_until

CHECKOUT = checkout()
assert CHECKOUT is not None
RULES = CHECKOUT / "deploy/prometheus/alerts.yml"
CONFIG = CHECKOUT / "deploy/prometheus/prometheus.yml"
DASHBOARD = CHECKOUT / "deploy/grafana/gridiron.json"

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_METRIC = re.compile(r"\b(?:gridiron_|process_)\w+")
_MATCHERS = re.compile(r"\{([^}]*)\}")
_MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")

OF_PROMETHEUS = frozenset({"instance", "job", "le"})
"""Labels that Prometheus adds, and that of histograms."""


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names."""
    return set(_METRIC.findall(_STRING.sub('""', expression)))


def labels_in(expression: str) -> set[str]:
    """The labels that an expression names."""
    bare = _STRING.sub('""', expression)
    matched = {label for matchers in _MATCHERS.findall(bare) for label in _MATCHED.findall(matchers)}
    grouped = {label.strip() for labels in _GROUPED.findall(bare) for label in labels.split(",")}
    return (matched | grouped) - {""}


def samples_of(metrics: list[Metric]) -> dict[str, set[str]]:
    """What can be asked for: the name of each sample, and its labels."""
    told: dict[str, set[str]] = {}
    for metric in metrics:
        for sample in metric.samples:
            told.setdefault(sample.name, set()).update(sample.labels)
    return told


def read_rules(group: int = 0) -> list[dict[str, Any]]:
    """Give the rules of a node, or with 1 those of a cluster."""
    rules: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][group]["rules"]
    return rules


def check(what: str, path: Path) -> None:
    """Let promtool check a file."""
    checked = subprocess.run(
        ["promtool", "check", what, str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@dataclass(frozen=True)
class Hurry:
    """How much sooner than its rules a Prometheus is to notice."""

    window: str  # in place of each range
    seconds: dict[int, int]  # in place of a number of seconds in an expression

    def shorten(self, rules: str) -> str:
        """Write the rules anew; each of them still is about the same."""
        rules = re.sub(r"for: \w+", "for: 0s", rules)
        rules = re.sub(r"\[\d+m\]", f"[{self.window}]", rules)
        for written, meant in self.seconds.items():
            assert re.search(rf"\b{written}\b", rules), written
            rules = re.sub(rf"\b{written}\b", str(meant), rules)
        return rules


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(base_url=url, timeout=10, verify=NO_TLS)

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now."""
        response = self._client.get("/api/v1/query", params={"query": expression})
        assert response.status_code == 200, f"{expression}: {response.text}"
        result: list[dict[str, Any]] = response.json()["data"]["result"]
        return result

    def firing(self) -> set[str]:
        """The alerts that are firing."""
        alerts = self._client.get("/api/v1/alerts").json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def await_firing(self, alert: str, seconds: float = 45) -> None:
        """Wait until an alert has fired at least once since this one started."""
        fired = f'count_over_time(ALERTS{{alertname="{alert}", alertstate="firing"}}[1h])'
        wait_until(lambda: self.query(fired), seconds, f"{alert} fires")

    def close(self) -> None:
        self._client.close()


@contextmanager
def running_prometheus(directory: Path, port: int, settings: Settings, hurry: Hurry) -> Iterator[Prometheus]:
    """Run what is in `deploy/`, with the address and a token of a node, and in a hurry."""
    directory.mkdir()
    config = yaml.safe_load(CONFIG.read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "gridiron"]
    job["static_configs"] = [{"targets": [settings.manager_url.removeprefix("http://")]}]
    config["scrape_configs"] = [job]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    (directory / "gridiron.token").write_text(read_token(settings.manager_state_dir / ADMIN_FILE))
    (directory / "alerts.yml").write_text(hurry.shorten(RULES.read_text()))
    check("config", directory / "prometheus.yml")
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        wait_until(prometheus.is_ready, 30, (directory / "prometheus.log").read_text())
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        process.wait(20)
