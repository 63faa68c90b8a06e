"""Where npm's packages may be: the checkout's `node_modules`, or the user's toolchain directory."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from gridiron.errors import ToolMissing, ToolVersionWrong
from gridiron.settings import checkout, shared_path


@dataclass(frozen=True, slots=True)
class Tree:
    """One `node_modules` directory, there or not, and what to do about it."""

    node_modules: Path
    install: str  # what makes it where it is not there; a sentence
    repair: str  # what makes it anew where something in it is missing or wrong; a sentence


@dataclass(frozen=True, slots=True)
class Package:
    """One installed npm package."""

    directory: Path
    version: str


def plan_trees(toolchain: Path, root: Path | None) -> tuple[Tree, ...]:
    """List the trees in the order in which they are looked through.

    `toolchain` is the directory that belongs to our lock (`toolchain_home`), `root` that of the checkout, or
    None outside of one.
    """
    installed = Tree(
        node_modules=toolchain / "node_modules",
        install="Run `gridiron up`, which installs it.",
        repair=f"Remove {toolchain} and run `gridiron up`, which installs it again.",
    )
    if root is None:
        return (installed,)
    checked_out = Tree(
        node_modules=root / "node_modules",
        install=f"Run `./justw --list` in {root}, which installs it.",
        repair=f"Remove {root / 'node_modules'} and run `./justw --list` in {root}, which installs it again.",
    )
    return (checked_out, installed)


def toolchain_home(toolchain_dir: Path) -> Path:
    """Give the directory for the packages of our package-lock.json: another lock has another directory."""
    digest = hashlib.sha256(shared_path("package-lock.json").read_bytes()).hexdigest()
    return toolchain_dir / digest[:16]


def fetch_trees(toolchain_dir: Path) -> tuple[Tree, ...]:
    """Plan the trees for this process: its checkout, if it runs from one, and its lock."""
    return plan_trees(toolchain_home(toolchain_dir), checkout())


def find_package(trees: tuple[Tree, ...], tool: str, package: str, wanted: str) -> Package:
    """Find a package in the first tree that has it and check its version.

    Raises ToolMissing, or ToolVersionWrong when that first one has another version: a later tree is not
    tried then, since nobody could tell which one is used.
    """
    for tree in trees:
        directory = tree.node_modules / package
        description = directory / "package.json"
        if description.is_file():
            actual = str(json.loads(description.read_bytes())["version"])
            if actual != wanted:
                raise ToolVersionWrong(tool, str(directory), actual, wanted, tree.repair)
            return Package(directory, actual)
    raise missing(trees, tool)


def missing(trees: tuple[Tree, ...], tool: str) -> ToolMissing:
    """Make the error for something that no tree has."""
    looked_in = ", ".join(str(tree.node_modules) for tree in trees)
    there = [tree for tree in trees if tree.node_modules.is_dir()]
    return ToolMissing(tool, looked_in, there[0].repair if there else trees[0].install)
