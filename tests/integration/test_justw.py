from __future__ import annotations

import ast
import runpy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gridiron.settings import checkout

ROOT = checkout()
if ROOT is None:
    pytest.skip("justw belongs to a checkout", allow_module_level=True)
JUSTW = ROOT / "justw"


@pytest.fixture(scope="module")
def justw() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(JUSTW)))


def make_step(justw: SimpleNamespace, root: Path, script: str, *results: str) -> Any:
    (root / "made").mkdir(exist_ok=True)
    (root / "pins.txt").touch()
    return justw.Step(
        title="things",
        stamp=root / "made" / ".stamp",
        inputs=(root / "pins.txt",),
        commands=(("sh", "-c", script),),
        results=results,
    )


def test_a_python_that_is_too_old_can_read_it() -> None:
    ast.parse(JUSTW.read_text(), feature_version=(3, 6))


def test_a_step_is_done_once_and_again_when_its_input_changes(
    justw: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    step = make_step(justw, tmp_path, "echo noise; echo x >> made/log")

    justw.install((step,), tmp_path)
    justw.install((step,), tmp_path)
    once = (tmp_path / "made/log").read_text()
    (tmp_path / "pins.txt").write_text("another==1.0")
    justw.install((step,), tmp_path)

    assert (once, (tmp_path / "made/log").read_text()) == ("x\n", "x\nx\n")
    assert capfd.readouterr() == (
        "",
        "gridiron: installing things …\ngridiron: installed things in 0 s\n" * 2,
    )


def test_a_step_that_fails_shows_its_output_and_is_done_again(
    justw: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    step = make_step(justw, tmp_path, "echo what went wrong; test -e mended")

    with pytest.raises(justw.Failure) as caught:
        justw.install((step,), tmp_path)
    output = capfd.readouterr().err
    (tmp_path / "mended").touch()
    justw.install((step,), tmp_path)

    assert output == "gridiron: installing things …\nwhat went wrong\n"
    assert str(caught.value) == (
        "sh -c 'echo what went wrong; test -e mended' ended with 1. "
        "What had been done before is kept: mend that, then run ./justw again."
    )
    assert justw.is_done(step, tmp_path)


@pytest.mark.parametrize(
    "output",
    [
        "npm error errno EAI_AGAIN",
        "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
    ],
)
def test_a_network_that_is_away_is_said_to_be(justw: SimpleNamespace, output: str) -> None:
    assert justw.describe_failure(("npm", "ci"), 1, output) == (
        "npm ci ended with 1. "
        "The network seems to be away; it is needed this once. Run ./justw again when it is there."
    )


def test_a_step_that_leaves_something_out_is_not_done(justw: SimpleNamespace, tmp_path: Path) -> None:
    step = make_step(justw, tmp_path, "touch made/one", "one", "t*o")

    with pytest.raises(justw.Failure) as caught:
        justw.install((step,), tmp_path)

    assert str(caught.value) == "things: t*o is still missing. Run ./justw again."
    assert not justw.is_done(step, tmp_path)


def test_two_at_once_do_a_step_once(justw: SimpleNamespace, tmp_path: Path) -> None:
    step = make_step(justw, tmp_path, "echo x >> made/log")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: justw.install((step,), tmp_path), range(4)))

    assert (tmp_path / "made/log").read_text() == "x\n"


def test_what_is_done_is_not_done_again_and_just_gets_the_arguments(
    justw: SimpleNamespace, tmp_path: Path
) -> None:
    root = tmp_path / "a checkout"
    for directory in (".venv/bin", "node_modules", "requirements", "src/gridiron", "../elsewhere"):
        (root / directory).mkdir(parents=True)
    shutil.copy(JUSTW, root)
    steps = justw.plan_steps(root, sys.executable)
    for path in [path for step in steps for path in step.inputs]:
        path.touch()
    just = root / ".venv/bin/just"
    just.write_text('#!/bin/sh\nprintf "%s\\n" "${PATH%%:*}" "$PWD" "$@"\n')
    just.chmod(0o755)
    (root / ".venv/bin/python").symlink_to(sys.executable)
    for step in steps:
        step.stamp.write_text(justw.fetch_digest(step, root))

    done = subprocess.run(
        [sys.executable, root / "justw", "call", "counter/a b", "add", '{"by": 2}'],
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        str(root / ".venv/bin"),
        str(tmp_path / "elsewhere"),
        "--justfile",
        str(root / "Justfile"),
        "call",
        "counter/a b",
        "add",
        '{"by": 2}',
    ]
