"""Read the text of a manifest file: JSON, JSON with comments, TOML. Nothing here does I/O."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from gridiron.errors import ManifestInvalid

MAX_DEPTH = 64
"""Objects and lists within each other: more than anyone writes, and less than the readers of a stored build
(pydantic, the router's JSON) give up at."""

# A string or comment that does not end reaches to the end of its line or text, and stays as it is: the JSON
# parser then names its place, and no input makes the search begin over and over.
_STRING = r'"(?:[^"\\\n]|\\.)*+"?'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_COMMA = re.compile(rf"{_STRING}|[\[{{:,]\s*,|,(?=\s*[\]}}])", re.DOTALL)
MAX_DOTS = 256
"""In a line of TOML: Python's reader takes for a key with many parts the third power of them in time."""

_TOO_DEEP = "it is nested too deeply"
_BUT_LINE_ENDS = re.compile(r"[^\r\n]")


def parse_document(file: str, content: bytes) -> dict[str, Any]:
    """Read a manifest file by the ending of its name. Raises ManifestInvalid."""
    parse = _PARSERS[PurePosixPath(file).suffix]
    try:
        document = parse(content.decode("utf-8-sig"))
        # a JSON text can write half of a surrogate pair, which is no text and can be written nowhere
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except UnicodeError as error:
        raise ManifestInvalid(file, "it is not UTF-8") from error
    except ValueError as error:
        raise ManifestInvalid(file, f"it cannot be read ({error})") from error
    except RecursionError as error:
        raise ManifestInvalid(file, _TOO_DEEP) from error
    if not _fits(document, MAX_DEPTH):
        raise ManifestInvalid(file, _TOO_DEEP)
    if not isinstance(document, dict):
        raise ManifestInvalid(file, "it is not an object")
    return document


def plain_json(text: str) -> str:
    """Make JSON of JSON with comments and trailing commas; every line and column stays where it is.

    What is wrong otherwise stays wrong, for the JSON parser to tell.
    """
    return _COMMA.sub(_blank_comma, _COMMENT.sub(_blank_comment, text))


def _fits(value: object, depth: int) -> bool:
    """Tell whether a value has at most `depth` objects and lists within each other."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is None or (depth > 0 and all(_fits(each, depth - 1) for each in inner))


def _blank_comment(match: re.Match[str]) -> str:
    found = match[0]
    ended = not found.startswith("/*") or (found.endswith("*/") and len(found) >= len("/**/"))
    return _BUT_LINE_ENDS.sub(" ", found) if found.startswith("/") and ended else found


def _blank_comma(match: re.Match[str]) -> str:
    return " " if match[0] == "," else match[0]


def _parse_toml(text: str) -> object:
    if any(line.count(".") > MAX_DOTS for line in text.split("\n")):
        raise ValueError(f"a line in it has more than {MAX_DOTS} dots: write it in several, or as JSON")
    return tomllib.loads(text)


def _parse_jsonc(text: str) -> object:
    return json.loads(plain_json(text))


_PARSERS: Mapping[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".jsonc": _parse_jsonc,
    ".toml": _parse_toml,
}
