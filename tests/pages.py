"""Examples in the documents, for tests that take them as their readers do."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def find_examples(page: str, language: str) -> list[str]:
    """Give the blocks of a document that are in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
