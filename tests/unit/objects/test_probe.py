from __future__ import annotations

import pytest

from gridiron.errors import BucketRefused
from gridiron.objects.probe import check_conditions
from gridiron.testing.objects import FakeObjects


class Careless(FakeObjects):
    """A bucket that passes over one of the conditions, or both."""

    def __init__(self, *ignored: str) -> None:
        super().__init__()
        self._ignored = ignored

    def create(self, key: str, content: bytes) -> str:
        return self.put(key, content) if "create" in self._ignored else super().create(key, content)

    def replace(self, key: str, content: bytes, etag: str) -> str:
        if "replace" in self._ignored:
            return self.put(key, content)
        return super().replace(key, content, etag)


def test_a_bucket_that_keeps_conditions() -> None:
    objects = Careless()
    check_conditions(objects)
    assert objects.list("") == ()


@pytest.mark.parametrize(
    ("ignored", "condition"),
    [(("create",), "If-None-Match"), (("replace",), "If-Match"), (("create", "replace"), "If-None-Match")],
)
def test_a_bucket_that_does_not(ignored: tuple[str, ...], condition: str) -> None:
    objects = Careless(*ignored)
    with pytest.raises(BucketRefused, match=f"passes over {condition}") as caught:
        check_conditions(objects)
    assert caught.value.bucket == objects.url
    assert objects.list("") == ()
