"""Which kind of module a file is: a manifest's rules before the ending of its name. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gridiron.bundles.fields import NO_PYTHON, Fields
from gridiron.model import ModuleKind, Rule, module_kind

WRANGLER_TYPES: Mapping[str, ModuleKind] = {
    "ESModule": ModuleKind.JS,
    "CommonJS": ModuleKind.CJS,
    "CompiledWasm": ModuleKind.WASM,
    "Text": ModuleKind.TEXT,
    "Data": ModuleKind.DATA,
}
"""Types of wrangler's `rules`."""

_ANYWHERE = "**"


def kind_of(path: str, rules: Iterable[Rule]) -> ModuleKind | None:
    """Tell what kind of module the file at `path` is: the first rule with a glob that matches says it.

    Where none does, the ending of its name says it. None for a file that is no module.
    """
    for rule in rules:
        if any(matches(glob, path) for glob in rule.globs):
            return rule.type
    return module_kind(path)


def matches(glob: str, path: str) -> bool:
    """Tell whether a glob matches a path with forward slashes, in a time that grows with both alone.

    `*` stands for any part of a name, `**` in place of a name for any number of directories; every other
    character for itself. A glob without a slash matches names in any directory.
    """
    names = glob.removeprefix("./").split("/")
    pattern = names if len(names) > 1 else [_ANYWHERE, *names]
    reached = _skip(pattern, {0})  # how far into the pattern one may be
    for name in path.split("/"):
        stay = {at for at in reached if at < len(pattern) and pattern[at] == _ANYWHERE}
        step = {at + 1 for at in reached - stay if at < len(pattern) and _matches_name(pattern[at], name)}
        reached = _skip(pattern, stay | step)
    return len(pattern) in reached


def take_rules(fields: Fields, key: str = "rules") -> tuple[Rule, ...]:
    """Take the rules of a `metadata.json`: each of a kind of module and globs."""
    rules, kinds = [], {kind.value: kind for kind in ModuleKind}
    for each in fields.take_objects(key):
        kind = _take_kind(each, kinds)
        rules.append(Rule(type=kind, globs=each.take_texts("globs")))
        for left in each.left:
            each.refuse(left, "it is unknown: remove it")
    return tuple(rules)


def take_wrangler_rules(fields: Fields, key: str = "rules") -> tuple[Rule, ...]:
    """Take the rules of a wrangler file, as they hold for what wrangler builds by them.

    As there, a rule that does not fall through ends those of its type. wrangler may put a file that is
    imported at the root of the bundle, with a digest and a dash before its name: so a glob that names
    directories matches that name, too.
    """
    rules, ended = [], set()
    for each in fields.take_objects(key):
        kind, globs = _take_kind(each, WRANGLER_TYPES), each.take_texts("globs")
        if kind not in ended:
            rules.append(Rule(type=kind, globs=tuple(name for glob in globs for name in plan_globs(glob))))
        if each.take("fallthrough") is not True:
            ended.add(kind)
        for left in each.left:
            each.refuse(left, "it is unknown to Gridiron: remove this")
    return tuple(rules)


def plan_globs(glob: str) -> tuple[str, ...]:
    """Give the globs for what wrangler makes of the files that a glob of its own matches."""
    plain = glob.partition("?")[0]  # `*.wasm?module` is imported so, and named without
    last = plain.rpartition("/")[2]
    anywhere = plain in {last, f"**/{last}"} and last.startswith("*")
    return (plain,) if anywhere else (plain, f"*-{last}")


def _take_kind(fields: Fields, kinds: Mapping[str, ModuleKind]) -> ModuleKind:
    name = fields.take_text("type") or ""
    if name in kinds:
        return kinds[name]
    is_python = name.lower().startswith("python")
    fields.refuse("type", NO_PYTHON if is_python else f"{name!r} is none of {', '.join(kinds)}")
    return ModuleKind.DATA


def _matches_name(pattern: str, name: str) -> bool:
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *middle, last = others
    at = len(first)
    for part in middle:
        at = name.find(part, at) + len(part)
        if at < len(part):  # it was not found
            return False
    return name.startswith(first) and name.endswith(last) and at + len(last) <= len(name)


def _skip(pattern: list[str], reached: set[int]) -> set[int]:
    """Add what can be reached without a further name: what `**` may stand for is nothing, too."""
    for at, part in enumerate(pattern):
        if at in reached and part == _ANYWHERE:
            reached.add(at + 1)
    return reached
