from __future__ import annotations

import pytest
from pydantic import ValidationError

from gridiron.restate.segments import Segment, find_written, parse_replication, parse_segments

# as restatectl 1.7.12 prints them for segments.sql, in no order
ROWS = [
    {"log_id": 2, "segment_index": 10, "nodeset": "[N1, N3]"},
    {"log_id": 2, "segment_index": 9, "nodeset": "[N3, N2, N1]"},
    {"log_id": 0, "segment_index": 3, "nodeset": "[N1, N3, N2]"},
    {"log_id": 1, "segment_index": 0},
]
SEGMENTS = (
    Segment(2, 10, frozenset({"N1", "N3"})),
    Segment(2, 9, frozenset({"N1", "N2", "N3"})),
    Segment(0, 3, frozenset({"N1", "N2", "N3"})),
    Segment(1, 0, frozenset()),
)


def test_segments_are_read() -> None:
    assert parse_segments(ROWS) == SEGMENTS


def test_a_segment_of_another_form_is_not_understood() -> None:
    with pytest.raises(ValidationError):
        parse_segments([{"log_id": 2}])


def test_only_the_last_segment_of_a_log_is_written_to() -> None:
    assert find_written(SEGMENTS, "N2") == (0,)
    assert find_written(SEGMENTS, "N1") == (0, 2)
    assert find_written(SEGMENTS, "N4") == ()


@pytest.mark.parametrize(
    ("property_", "replication"),
    [
        ("{node: 1}", 1),
        ("{node: 12}", 12),
        ("{region: 2, node: 3}", 3),
        ("{zone: 2, node: 3}", 3),
        ("{region: 2, zone: 3, node: 4}", 4),
        ("{node: 3, region: 2}", 3),
    ],
)
def test_on_how_many_nodes_logs_are_kept(property_: str, replication: int) -> None:
    assert parse_replication(bifrost_config(property_)) == replication


@pytest.mark.parametrize("property_", ["{zone: 2}", "{node: 3, rack: 2}", "{node: }", "2", ""])
def test_what_is_kept_otherwise_is_not_guessed(property_: str) -> None:
    with pytest.raises(ValidationError):
        parse_replication(bifrost_config(property_))


def bifrost_config(property_: str) -> dict[str, object]:
    """The part of this metadata that is read, as Restate 1.7.12 has it."""
    replicated = {"replication_property": property_, "target_nodeset_size": 0}
    return {"version": 8, "config": {"default_provider": {"replicated": replicated}}, "logs": []}
