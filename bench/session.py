"""What every measure gets: programs, a directory, the bundles, and a place to say how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import Toolchain

HANDLERS = Path(__file__).parent / "subjects" / "handlers.js"

SOURCE = f"""
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import {{ makeHandlers }} from "{HANDLERS}";
const service = restate.service({{ name: "@SERVICE@", handlers: makeHandlers("@VERSION@") }});
const bidirectional = JSON.parse("@BIDIRECTIONAL@");
export default {{ fetch: restate.createEndpointHandler({{ services: [service], bidirectional }}) }};
"""


T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """One run of a measure."""

    toolchain: Toolchain
    work: Path  # everything that is written
    quick: bool  # small counts: everything is gone through, and the figures say nothing
    seconds: float | None = None  # how long the clients of the API go on; None: as the measure says

    @cached_property
    def bundles(self) -> ProbeBundles:
        """Makes bundles of the handlers, in any version and under any service name."""
        return self.make_bundles("handlers", SOURCE)

    def make_bundles(self, name: str, source: str) -> ProbeBundles:
        """Build a source with the probe's placeholders; the result makes bundles of it."""
        built = build_probe(self.toolchain, self.work / f"{name}-built", source)
        return ProbeBundles(built, self.work / f"{name}-made")

    def choose(self, full: T, quick: T) -> T:
        """Give what a full run takes or what a quick one does."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Show how far the measure is."""
        print(f"{time.strftime('%H:%M:%S')}   {text}", flush=True)
