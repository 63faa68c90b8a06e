from __future__ import annotations

import inspect
import re

import gridiron.errors
from gridiron.errors import BuildInUse, GridironError

CATEGORIES = {
    *("GridironError", "BadInput", "Unauthenticated", "Forbidden", "TooMany", "NotFound", "Conflict"),
    *("Unavailable", "Rejected", "Environment"),
}


def classes() -> dict[str, type[GridironError]]:
    found = inspect.getmembers(gridiron.errors, inspect.isclass)
    return {name: kind for name, kind in found if issubclass(kind, GridironError)}


def test_the_tree_that_is_drawn_is_the_tree_that_there_is() -> None:
    drawn = (gridiron.errors.__doc__ or "").split("GridironError", 1)[1].split("A class has", 1)[0]
    drawn = re.sub(r"(the caller|the step|\(Restate).*", "", drawn)
    named = set(re.findall(r"\b[A-Z][A-Za-z0-9]+\b", drawn))
    assert named == set(classes()) - {"GridironError"}


def test_every_failure_has_a_code_of_its_own() -> None:
    codes = [kind.code for name, kind in classes().items() if name not in CATEGORIES]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", code) for code in codes)


def test_a_sentence_uses_only_fields_that_there_are() -> None:
    for name, kind in classes().items():
        if name in CATEGORIES:
            continue
        fields = list(inspect.signature(kind).parameters)
        assert str(kind(*(f"<{field}>" for field in fields))), name


def test_a_sentence_is_filled_in() -> None:
    error = BuildInUse("demo-1-2", "draining", "2 invocations are pinned to it", 2)
    assert str(error) == (
        "demo-1-2 is draining: 2 invocations are pinned to it. "
        "Wait until it is drained, or force its removal."
    )
