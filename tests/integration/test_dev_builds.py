"""What `gridiron dev` builds: by an esbuild that goes on, by the project's own command, or by wrangler."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gridiron.bundles.incremental import Mistake
from gridiron.bundles.project import prepare_project
from gridiron.cli.dev.maker import Made, Maker, find_name
from gridiron.errors import BuildStepFailed, IdentityMissing
from gridiron.settings import load_settings
from gridiron.testing.processes import descendants
from gridiron.toolchain.programs import Toolchain, find_toolchain

WRANGLER = 'name = "worker"\nmain = "src/index.ts"\ncompatibility_date = "2026-10-01"\n'
EMPTY_WASM = b"\0asm\1\0\0\0"


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return find_toolchain(load_settings())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    (directory / "src").mkdir(parents=True)
    return directory


@pytest.fixture
def make_maker(project: Path, toolchain: Toolchain) -> Iterator[Callable[[], Maker]]:
    makers: list[Maker] = []

    def make() -> Maker:
        makers.append(Maker(project, toolchain))
        return makers[-1].__enter__()

    yield make
    for maker in makers:
        maker.__exit__()
        assert not maker.out.exists()


def names(made: Made) -> list[str]:
    assert made.bundle is not None, made.errors
    return sorted(path.name for path in made.bundle.iterdir())


def script(made: Made) -> str:
    assert made.bundle is not None, made.errors
    return (made.bundle / "index.js").read_text()


def test_a_plain_project_is_built_again_as_it_is_built_once(
    project: Path, make_maker: Callable[[], Maker], toolchain: Toolchain, tmp_path: Path
) -> None:
    source, part = project / "src" / "index.ts", project / "src" / "part.ts"
    source.write_text(
        'import { part } from "./part";\nimport text from "./a.txt";\nexport default { part, text };'
    )
    part.write_text("export const part: number = 1;")
    (project / "src" / "a.txt").write_text("one")
    maker = make_maker()
    first = maker.make()
    assert names(first)[1:] == ["index.js", "metadata.json"]
    part.write_text("export const part: number = 2;")
    (project / "src" / "a.txt").write_text("two")
    second = maker.make()
    out = tmp_path / "out"
    out.mkdir()
    whole = prepare_project(project, toolchain, out).directory
    assert second.bundle is not None
    made, expected = (
        {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "metadata.json"}
        for directory in (second.bundle, whole)
    )
    assert made == expected
    assert len(made) == 2  # nothing of the text as it was before


def test_mistakes_are_told_with_their_place_and_the_bundle_stays(
    project: Path, make_maker: Callable[[], Maker]
) -> None:
    source = project / "index.ts"
    source.write_text("export default { version: 1 };")
    maker = make_maker()
    before = script(maker.make())
    source.write_text("\nexport default {{;")
    assert maker.make() == Made(None, (Mistake('Expected identifier but found "{"', "index.ts", 2, 17),))
    assert (maker.out / "bundle" / "index.js").read_text() == before
    source.write_text('import "nowhere";\nexport default {};')
    assert [each.file for each in maker.make().errors] == ["index.ts"]
    source.write_text("export default { version: 2 };")
    assert "version: 2" in script(maker.make())
    source.write_text("export default { a: 1, a: 2 };")
    assert [each.line for each in maker.make().warnings] == [1]


@pytest.mark.parametrize("gone", [False, True], ids=["ending", "gone"])
def test_esbuild_is_started_again_when_it_has_ended(
    *, project: Path, make_maker: Callable[[], Maker], gone: bool
) -> None:
    (project / "index.ts").write_text("export default {};")
    maker = make_maker()
    maker.make()
    for pid in descendants(os.getpid()):
        if b"incremental.mjs" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            if gone:  # its pipe then refuses the next request, instead of leaving it unread
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(BuildStepFailed):
        maker.make()
    assert names(maker.make()) == ["index.js", "metadata.json"]


def test_a_wrangler_project_is_built_by_esbuild_after_its_own_command(
    project: Path, make_maker: Callable[[], Maker]
) -> None:
    (project / "wrangler.toml").write_text(
        f"{WRANGLER}[build]\ncommand = \"node -e 'require(`fs`).copyFileSync(`empty`, `src/made.wasm`)'\"\n"
        "[vars]\nGREETING = 'Hello'\n[define]\nRELEASE = '\"r1\"'\n"
        '[[rules]]\ntype = "Text"\nglobs = ["**/*.md"]\n'
    )
    (project / "empty").write_bytes(EMPTY_WASM)
    (project / "src" / "note.md").write_text("a note")
    (project / "src" / "index.ts").write_text(
        'import wasm from "./made.wasm";\nimport note from "./note.md";\n'
        "export default { wasm, note, release: RELEASE };"
    )
    maker = make_maker()
    made = maker.make()
    assert [name.split("-")[0] for name in names(made)] == ["index.js", "made", "metadata.json", "note"]
    assert 'release: "r1"' in script(made)
    assert made.bundle is not None
    manifest = (made.bundle / "metadata.json").read_text()
    assert '"GREETING": "Hello"' in manifest
    assert '"**/*.md"' in manifest
    assert maker.is_new(["src/made.wasm"])  # nobody knows yet
    maker.make()
    assert not maker.is_new(["src/made.wasm"])
    assert maker.is_new(["src/made.wasm", "src/index.ts"])


def test_a_command_that_fails_says_why(project: Path, make_maker: Callable[[], Maker]) -> None:
    (project / "wrangler.toml").write_text(f'{WRANGLER}[build]\ncommand = "echo no luck; exit 3"\n')
    (project / "src" / "index.ts").write_text("export default {};")
    with pytest.raises(BuildStepFailed, match="no luck"):
        make_maker().make()


def test_what_only_wrangler_builds_is_built_by_wrangler(
    project: Path, make_maker: Callable[[], Maker]
) -> None:
    (project / "wrangler.toml").write_text(f"{WRANGLER}keep_names = false\n")
    (project / "src" / "index.ts").write_text("export default { built: 'whole' };")
    maker = make_maker()
    assert "whole" in script(maker.make())
    assert not (maker.out / "bundle" / "index.js").exists()
    (project / "src" / "index.ts").write_text("export default { built: 'again' };")
    assert "again" in script(maker.make())


def test_a_bundle_is_used_as_it_is(project: Path, make_maker: Callable[[], Maker]) -> None:
    (project / "index.js").write_text("export default {};")
    assert make_maker().make() == Made(project)


def test_the_name_is_the_wanted_one_or_the_projects(project: Path) -> None:
    (project / "index.js").write_text("export default {};")
    with pytest.raises(IdentityMissing):
        find_name(project, None)
    assert find_name(project, "wanted") == "wanted"
    (project / "package.json").write_text('{"name": "@scope/packed"}')
    assert find_name(project, None) == "packed"
    (project / "wrangler.toml").write_text(WRANGLER)
    assert find_name(project, None) == "worker"
