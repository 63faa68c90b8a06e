from __future__ import annotations

import pytest

from gridiron.restate.restatectl import Ended, is_away, parse_reason

# what restatectl 1.7.12 prints, in part
STARTING = """Error: Failed to run query
  ├─ code: 'The service is currently unavailable', message: "svc is not ready yet"

"""
REFUSED_CONNECTION = """Error: Failed to run query

Caused by:
  ├─ code: 'The service is currently unavailable', message: "tcp connect error"
  ├─ transport error
  ├─ tcp connect error
  └─ Connection refused (os error 111)
"""
UNKNOWN_NODE = "Error: node N9 was not found in config\n"
KEPT = """Error: It is not safe to disable node {node_id}
  ├─ log server is part of a node set of loglet 4_0. You need to trim this loglet first

"""
PARTIAL = """WARNING (partial results):
  N1: Internal error: No such scanner. It could have expired..
268 rows. Query took 115.42238ms
"""
NOT_PROVISIONED = b"[ERR]: Failed to provision cluster during dry run: tcp connect error\n"


@pytest.mark.parametrize(
    ("ended", "reason", "away"),
    [
        (
            Ended(1, b"", STARTING),
            "code: 'The service is currently unavailable', message: \"svc is not ready yet\"",
            True,
        ),
        (Ended(1, b"", REFUSED_CONNECTION), "Connection refused (os error 111)", True),
        (Ended(1, b"", UNKNOWN_NODE), "node N9 was not found in config", False),
        (
            Ended(1, b"", KEPT),
            "log server is part of a node set of loglet 4_0. You need to trim this loglet first",
            False,
        ),
        (
            Ended(0, b"[]", PARTIAL),
            "it answered in part: N1: Internal error: No such scanner. It could have expired..",
            False,
        ),
        (
            Ended(0, NOT_PROVISIONED, ""),
            "Failed to provision cluster during dry run: tcp connect error",
            True,
        ),
        (Ended(-9, b"", "\n"), "restatectl ended with -9", False),
    ],
)
def test_why_it_failed_is_read_from_what_it_prints(ended: Ended, reason: str, away: bool) -> None:
    assert (parse_reason(ended), is_away(ended)) == (reason, away)
