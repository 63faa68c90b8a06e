"""Build a wrangler project, with the wrangler of the toolchain and nothing of Cloudflare's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from gridiron.bundles.build import BuildPlan, BuildToolchain, run_build
from gridiron.bundles.disk import storing
from gridiron.bundles.manifest import DEFAULT_MAIN
from gridiron.bundles.sdk import fetch_sdk
from gridiron.bundles.wrangler import Wrangler
from gridiron.errors import BuildStepFailed
from gridiron.model import Manifest

# of wrangler: send nothing, write no logs into the home directory, do not look for updates
WRANGLER_ENVIRONMENT: Mapping[str, str] = {
    "WRANGLER_SEND_METRICS": "false",
    "WRANGLER_SEND_ERROR_REPORTS": "false",
    "WRANGLER_WRITE_LOGS": "false",
    "WRANGLER_HIDE_BANNER": "true",
}

WRANGLERS_README = "README.md"
"""wrangler writes it beside each build. It names the time, and may not become a module by a rule."""


def build_by_wrangler(
    directory: Path, file: str, wrangler: Wrangler, toolchain: BuildToolchain, out: Path
) -> Manifest:
    """Build the project in `directory` into `out`, by the wrangler file named `file`; give its manifest.

    Raises BuildStepFailed, StorageFailed, and what the toolchain raises.
    """
    plan = plan_build(file, wrangler, toolchain, out, fetch_sdk(directory, toolchain))
    output = run_build(directory, plan)
    written = _find_main(plan, wrangler, output)
    main = plan_main(written, wrangler)
    with storing("Writing", out):
        (out / WRANGLERS_README).unlink(missing_ok=True)
        (out / main).parent.mkdir(parents=True, exist_ok=True)
        (out / written).replace(out / main)
    return plan_manifest(wrangler, main)


def plan_manifest(wrangler: Wrangler, main: str) -> Manifest:
    """Say what a bundle says of itself whose project has a wrangler file, and whose main module is `main`."""
    return Manifest(
        name=wrangler.name,
        main=main,
        compatibility=wrangler.compatibility,
        vars=wrangler.vars,
        rules=wrangler.rules,
        required_secrets=wrangler.required_secrets,
    )


def plan_build(
    file: str, wrangler: Wrangler, toolchain: BuildToolchain, out: Path, sdk: Mapping[str, Path]
) -> BuildPlan:
    """Say how a project is built into `out`, by the wrangler file named `file` and for no environment of it.

    `sdk` are the files of the Restate SDK, by what scripts import; none for a project that has installed it.
    The compatibility date is given as we understood it: wrangler builds nothing without one.
    """
    date = wrangler.compatibility.date.isoformat()
    where = ("--config", file, "--env=", "--outdir", str(out.absolute()))
    arguments = ("deploy", "--dry-run", *where, "--compatibility-date", date)
    aliases = [f"--alias={name}:{file}" for name, file in sdk.items()]
    return BuildPlan(
        command=(*toolchain.wrangler_command(), *arguments, *aliases),
        shown=" ".join(("wrangler", *arguments)),
        out=out.absolute(),
        environment=WRANGLER_ENVIRONMENT,
    )


def plan_main(written: str, wrangler: Wrangler) -> str:
    """Say where the main module belongs that wrangler wrote into the root of the bundle.

    The modules that it leaves apart are named from a directory that may be above the main module's.
    """
    source = PurePosixPath(wrangler.main or written)
    if wrangler.base is None or not source.is_relative_to(wrangler.base):
        return written
    return str(source.relative_to(wrangler.base).with_name(written))


def _find_main(plan: BuildPlan, wrangler: Wrangler, output: str) -> str:
    """Find the main module among what wrangler wrote: named like its source, as JavaScript."""
    stem = PurePosixPath(wrangler.main or DEFAULT_MAIN).stem
    for name in (f"{stem}.js", f"{stem}.mjs"):  # the latter where nothing was bundled
        if (plan.out / name).is_file():
            return name
    raise BuildStepFailed(plan.shown, f"{output}\nwrangler wrote no {stem}.js.")
