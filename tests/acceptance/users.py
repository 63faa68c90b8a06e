"""Users of a test's own, and directories that they reach, without a change to the machine.

Both are in a mount namespace, which the kernel drops with the last process in it: an /etc with users that
nobody else sees, and, in place of closed directories (root's home, say, where Python may be), open ones that
hold nothing but the way to what is needed.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

NAMESPACE = ("unshare", "--mount", "--propagation", "private")


def plan_namespace(work: Path, reached: Iterable[Path]) -> str:
    """Give the shell commands that make such a namespace out of a new one; `work` is an empty directory."""
    etc = work / "etc"
    shutil.copytree("/etc", etc, symlinks=True)
    commands = ["set -e", f"mount --bind {etc} /etc"]
    closed: dict[Path, list[Path]] = {}
    for path in reached:
        above = [each for each in reversed(path.parents) if not each.stat().st_mode & 0o001]
        if above:
            closed.setdefault(above[0], []).append(path)
    for number, (directory, paths) in enumerate(closed.items()):
        stage = work / f"open-{number}"
        stage.mkdir()
        commands.append(f"mount -t tmpfs -o mode=0755 none {stage}")
        for path in paths:
            place = shlex.quote(str(stage / path.relative_to(directory)))
            commands += [f"mkdir -p {place}", f"mount --rbind {shlex.quote(str(path))} {place}"]
        commands.append(f"mount --move {stage} {shlex.quote(str(directory))}")
    return "\n".join(commands)


def run_in(pid: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the namespace of a process."""
    return subprocess.run(
        ["nsenter", f"--mount=/proc/{pid}/ns/mnt", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )


def users_of(work: Path) -> dict[int, str]:
    """Name the users of the namespace that was made in `work`, by their numbers."""
    lines = (work / "etc" / "passwd").read_text().splitlines()
    return {int(fields[2]): fields[0] for fields in (line.split(":") for line in lines)}
