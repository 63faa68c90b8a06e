"""A small real bundle for tests and benches, which comes in any version and under any service name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gridiron.toolchain.programs import Toolchain

SOURCE = """
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
const VERSION = "@VERSION@";
const probe = restate.service({
  name: "@SERVICE@",
  handlers: {
    // answers the version that it began on and the one that it ended on
    work: async (ctx, { steps = 1, millis = 0 } = {}) => {
      const begun = await ctx.run("begin", () => VERSION);
      for (let step = 0; step < steps; step++) await ctx.run(`step ${step}`, () => step);
      if (millis > 0) await ctx.sleep(millis);
      const ended = await ctx.run("end", () => VERSION);
      return { begun, ended };
    },
    version: async () => VERSION,
  },
});
const bidirectional = JSON.parse("@BIDIRECTIONAL@"); // a comparison would be folded away by esbuild
export default { fetch: restate.createEndpointHandler({ services: [probe], bidirectional }) };
"""
BUILD_LIMIT_SECONDS = 60


def build_probe(toolchain: Toolchain, directory: Path, source: str = SOURCE) -> Path:
    """Bundle the probe, or another source with its placeholders, once; `ProbeBundles` takes the directory.

    Raises subprocess.CalledProcessError when esbuild fails.
    """
    directory.mkdir(parents=True, exist_ok=True)
    main, out = directory / "index.js", directory / "out"
    main.write_text(source)
    arguments = (
        "--bundle",
        "--format=esm",
        "--platform=browser",
        "--conditions=workerd,worker,browser",
        "--loader:.wasm=copy",
        "--asset-names=[name]",
        "--external:node:*",
        "--external:cloudflare:*",
        "--log-level=warning",
        f"--outdir={out}",
    )
    subprocess.run(
        [toolchain.esbuild().path, main, *arguments],
        env={**os.environ, "NODE_PATH": str(toolchain.node_modules)},
        check=True,
        timeout=BUILD_LIMIT_SECONDS,
    )
    return out


class ProbeBundles:
    """Makes bundles out of a built probe."""

    def __init__(self, probe: Path, directory: Path) -> None:
        self._probe = probe
        self._directory = directory

    def make(self, version: str, service: str = "probe", *, bidirectional: bool = True) -> Path:
        """Give a bundle whose code answers `version` as the Restate service `service`. Safe to repeat."""
        bundle = self._directory / f"{service}-{version}-{bidirectional}"
        bundle.mkdir(parents=True, exist_ok=True)
        for file in self._probe.iterdir():
            content = file.read_bytes()
            for placeholder, value in (
                ("@VERSION@", version),
                ("@SERVICE@", service),
                ("@BIDIRECTIONAL@", str(bidirectional).lower()),
            ):
                content = content.replace(placeholder.encode(), value.encode())
            (bundle / file.name).write_bytes(content)
        return bundle
