"""Install npm's packages into the user's toolchain directory, for a Gridiron that runs outside a checkout."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gridiron.errors import StorageFailed, ToolchainNotInstalled, ToolMissing, ToolVersionWrong
from gridiron.settings import Settings, shared_path
from gridiron.toolchain.nodejs import npm_command
from gridiron.toolchain.packages import plan_packages
from gridiron.toolchain.programs import Toolchain, find_toolchain, make_toolchain
from gridiron.toolchain.trees import Tree, toolchain_home

LOCK_FILE = "lock"
STAGING_PREFIX = ".staging-"
NPM_FLAGS = (
    "ci",
    "--ignore-scripts",
    "--omit=dev",
    "--prefer-offline",  # the lock pins content, so what npm's cache has is as good as what it would fetch
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
)
LOOK_SECONDS = 0.2
"""How often the packages that have arrived are counted."""

MAX_OUTPUT_LINES = 20
"""Lines of npm's output that an error carries: its first ones say what failed, advice follows them."""


@dataclass(frozen=True, slots=True)
class InstallProgress:
    """How far an installation has come."""

    done: int  # packages
    total: int  # at most, until the end: see plan_packages


def install_toolchain(settings: Settings, progress: Callable[[InstallProgress], None]) -> Toolchain:
    """Install the packages of our lock where they are not installed yet, and give the toolchain.

    `progress` is called several times a second while npm works, and not at all where everything is there. A
    second call is safe and cheap; a second process waits for the first. What is installed appears at once and
    whole, or not at all. Blocks as long as the network needs. Raises ToolchainNotInstalled, StorageFailed.
    """
    home = toolchain_home(settings.toolchain_dir)
    if not home.is_dir():
        try:
            settings.toolchain_dir.mkdir(parents=True, exist_ok=True)
            with _hold_lock(settings.toolchain_dir / LOCK_FILE) as lock:
                if not home.is_dir():  # another process may have installed it meanwhile
                    _install(home, lock, progress)
        except OSError as error:
            raise StorageFailed("Writing", str(home), error.strerror or str(error)) from error
    return find_toolchain(settings)


@contextmanager
def _hold_lock(path: Path) -> Iterator[int]:
    """Wait for the lock and hold it. The file stays: removing it would let two processes lock two files."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _install(home: Path, lock: int, progress: Callable[[InstallProgress], None]) -> None:
    """Install into a directory beside `home`, check it, and only then give it its name."""
    for abandoned in home.parent.glob(f"{STAGING_PREFIX}*"):  # of a process that was killed: we have the lock
        shutil.rmtree(abandoned)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=home.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(shared_path(name), staging / name)
        _run_npm(staging, home, lock, progress)
        _check(staging, home)
        staging.rename(home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # it has its name by now, or is worth nothing


def _run_npm(staging: Path, home: Path, lock: int, progress: Callable[[InstallProgress], None]) -> None:
    packages = plan_packages(
        json.loads((staging / "package-lock.json").read_bytes()), platform.system(), platform.machine()
    )
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*npm_command(), *NPM_FLAGS],
            cwd=staging,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),  # should this process be killed, the lock stays until npm ends
        )
        try:
            while (code := _wait(process)) is None:
                progress(InstallProgress(_count(staging, packages), len(packages)))
        finally:
            process.kill()  # nothing, where it has ended
            process.wait()
        if code != 0:
            output.seek(0)
            raise ToolchainNotInstalled(str(home), _first_lines(output.read().decode(errors="replace")))
    arrived = _count(staging, packages)
    progress(InstallProgress(arrived, arrived))


def _check(staging: Path, home: Path) -> None:
    """Look for every program: npm ends well without an optional package, and each program is in one."""
    tree = Tree(staging / "node_modules", install="", repair="")
    toolchain = make_toolchain((tree,), {})
    try:
        toolchain.restate_server()
        toolchain.restatectl()
        toolchain.workerd()
        toolchain.esbuild()
        toolchain.wrangler_command()
        toolchain.sdk_cores()
    except (ToolMissing, ToolVersionWrong) as error:
        raise ToolchainNotInstalled(str(home), f"{error.tool} is not among what npm installed.") from error


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _count(staging: Path, packages: Sequence[str]) -> int:
    """Count the packages that are there: npm says nothing of its progress that another program can read."""
    return sum((staging / package / "package.json").is_file() for package in packages)


def _first_lines(output: str) -> str:
    return "\n".join(output.strip().splitlines()[:MAX_OUTPUT_LINES])
