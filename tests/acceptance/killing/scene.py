"""Where one attempt at an operation takes place: a bundle name and a service that no other attempt uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2

from gridiron.settings import Settings
from gridiron.testing.probe import ProbeBundles
from tests.harness import Client, wait_until

IN_FLIGHT_MILLIS = 3000
"""How long an invocation sleeps: an operation, a death and a new start take half of that."""

ANSWERED_SECONDS = 20
"""How long after all else an answer may take."""

BROKEN = "throw new Error('it does not load');\nexport default {};\n"


class Scene:
    """What the operations do to the builds of one name. `client` and `bundles` stay the caller's."""

    def __init__(self, settings: Settings, client: Client, bundles: ProbeBundles, number: int) -> None:
        self.name, self.service = f"probe-k{number}", f"probe_k{number}"
        self._settings, self._client, self._bundles = settings, client, bundles
        self._build_ids: dict[str, str] = {}  # by version
        self._in_flight: dict[str, str] = {}  # invocation -> the version that it began on

    def prepare(self, *versions: str) -> None:
        """Activate versions, each over the one before, as the beginning of an operation."""
        for version in versions:
            bundle = self._bundles.make(version, self.service)
            activated = self._client.activate(bundle, version, name=self.name)
            self._build_ids[version] = activated["build_id"]

    def send(self, version: str, millis: int = IN_FLIGHT_MILLIS) -> None:
        """Start an invocation that sleeps, and see that it is pinned to this version."""
        invocation = self._client.send(self.service, "work", {"millis": millis})
        build_id = self._build_ids[version]
        wait_until(lambda: self._client.show(build_id)["invocations"]["pinned"] > 0, what=build_id)
        self._in_flight[invocation] = version

    def cancel(self, version: str) -> None:
        """Cancel what was sent to a version; nobody waits for its answer any more."""
        for invocation in [each for each, begun in self._in_flight.items() if begun == version]:
            response = self._client.admin.patch(f"/invocations/{invocation}/cancel")
            assert response.is_success, response.text
            del self._in_flight[invocation]

    def wait_for(self, state: str, version: str) -> None:
        """Wait until a version is in a state."""
        build_id = self._build_ids[version]
        wait_until(lambda: self._client.show(build_id)["state"] == state, what=f"{build_id} {state}")

    def wait_until_deleted(self, version: str) -> None:
        """Wait until nothing is left of a version on the disk, without asking the manager."""
        bundles = self._settings.bundles_dir
        build, staging = bundles / self._build_ids[version], bundles / ".staging"
        wait_until(lambda: not build.exists() and not any(staging.iterdir()), what=f"{build} deleted")

    def activate(self, version: str) -> httpx2.Response | None:
        """Activate a version."""
        return self._activate(self._bundles.make(version, self.service), version)

    def activate_broken(self, version: str) -> httpx2.Response | None:
        """Activate a version whose script throws."""
        bundle = self._bundles.make(version, self.service)
        (bundle / "index.js").write_text(BROKEN)
        return self._activate(bundle, version)

    def prune(self, version: str, *, force: bool = False) -> httpx2.Response | None:
        """Prune one version."""
        return self._post("/prune", {"build_id": self._build_ids[version], "force": force})

    def prune_drained(self) -> httpx2.Response | None:
        """Prune whatever is drained, of all names."""
        return self._post("/prune", {})

    def roll_back(self) -> httpx2.Response | None:
        """Make the version before active again."""
        return self._post("/rollback", {"name": self.name})

    def set_secret(self) -> httpx2.Response | None:
        """Set a secret of the name, the same each time."""
        return self._send("PUT", f"/secrets/{self.name}/TOKEN", {"value": "hunter2"})

    def call(self) -> str:
        """Call the service; give the version that answered, or what else came."""
        response = self._client.ingress.post(f"/{self.service}/version")
        return str(response.json()) if response.status_code == 200 else f"HTTP {response.status_code}"

    def find_lost(self) -> list[str]:
        """Wait for the answers of all that was sent, and name what is not answered by its own version."""
        return [
            f"{invocation}, begun on {version}, came to {answer}"
            for invocation, version in self._in_flight.items()
            if (answer := self._fetch_answer(invocation)) != {"begun": version, "ended": version}
        ]

    def _fetch_answer(self, invocation: str) -> Any:
        path = f"/restate/invocation/{invocation}/attach"
        try:
            return self._client.ingress.get(path, timeout=ANSWERED_SECONDS).json()
        except httpx2.TimeoutException:
            return "no answer"

    def _activate(self, bundle: Path, version: str) -> httpx2.Response | None:
        return self._post("/activate", {"source": bundle.as_uri(), "name": self.name, "version": version})

    def _post(self, path: str, body: dict[str, Any]) -> httpx2.Response | None:
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: dict[str, Any]) -> httpx2.Response | None:
        """Ask the manager for something; None where the connection broke off, so that nothing is known."""
        try:
            return self._client.manager.request(method, path, json=body)
        except httpx2.TransportError:
            return None
