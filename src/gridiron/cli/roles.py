"""The verbs that run something until they are stopped: a whole node, or one of its roles."""

from __future__ import annotations

from gridiron.cli.options import Cells, DataDir, PortOffset

# Each verb imports what it runs: it would cost every other verb its start.


def up(data_dir: DataDir = None, port_offset: PortOffset = None, cells: Cells = None) -> None:
    """Run a whole node in the foreground. Prints `ready …` with the URLs when it serves; Ctrl-C stops it."""
    import asyncio  # noqa: PLC0415 - see above

    from rich.console import Console  # noqa: PLC0415 - the same

    from gridiron.node import run_node  # noqa: PLC0415 - the same
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same
    from gridiron.toolchain.progress import ensure_toolchain  # noqa: PLC0415 - the same

    settings = load_settings(data_dir=data_dir, port_offset=port_offset, cells=cells)
    ensure_toolchain(settings, Console(stderr=True))
    asyncio.run(run_node(settings))


def restate(data_dir: DataDir = None, port_offset: PortOffset = None) -> None:
    """Run Restate: renders its configuration, then becomes restate-server."""
    from gridiron.cli.logs import configure_logging  # noqa: PLC0415 - see above
    from gridiron.restate.role import exec_restate  # noqa: PLC0415 - the same
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same
    from gridiron.toolchain.programs import find_toolchain  # noqa: PLC0415 - the same

    configure_logging()
    settings = load_settings(data_dir=data_dir, port_offset=port_offset)
    exec_restate(settings, find_toolchain(settings))


def workers(data_dir: DataDir = None, port_offset: PortOffset = None, cells: Cells = None) -> None:
    """Run the workers: HAProxy and the cells behind it."""
    import asyncio  # noqa: PLC0415 - see above

    from gridiron.cli.logs import configure_logging  # noqa: PLC0415 - the same
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same
    from gridiron.toolchain.programs import find_toolchain  # noqa: PLC0415 - the same
    from gridiron.workers.pool import run_workers  # noqa: PLC0415 - the same

    configure_logging()
    settings = load_settings(data_dir=data_dir, port_offset=port_offset, cells=cells)
    asyncio.run(run_workers(settings, find_toolchain(settings)))


def manager(data_dir: DataDir = None, port_offset: PortOffset = None) -> None:
    """Run the manager: its HTTP API, and the removal of what is drained."""
    import asyncio  # noqa: PLC0415 - see above

    from gridiron.cli.logs import configure_logging  # noqa: PLC0415 - the same
    from gridiron.manager.role import run_manager  # noqa: PLC0415 - the same
    from gridiron.settings import load_settings  # noqa: PLC0415 - the same

    configure_logging()
    asyncio.run(run_manager(load_settings(data_dir=data_dir, port_offset=port_offset)))
