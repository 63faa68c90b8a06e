"""What the benches run on."""

from __future__ import annotations

import os
import platform

from gridiron.toolchain.programs import Toolchain

GIBIBYTE = 2**30


def describe_machine(toolchain: Toolchain) -> str:
    """Name processors, memory, and the versions of the programs."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIBIBYTE
    programs = (toolchain.restate_server(), toolchain.workerd(), toolchain.haproxy(), toolchain.node())
    versions = ", ".join(f"{program.name} {program.version}" for program in programs)
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.system()} on {platform.machine()}, {cores} cores, {memory:.0f} GiB, Python "
        f"{platform.python_version()}, {versions}"
    )
