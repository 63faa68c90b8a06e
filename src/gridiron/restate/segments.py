"""What the logs of a cluster consist of: values and decisions, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, ConfigDict, Field, TypeAdapter


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a log; it never moves, and goes when snapshots have all that is in it."""

    log_id: int
    index: int  # the highest one of a log is written to
    nodes: frozenset[str]  # ids of those that keep it


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    log_id: int
    segment_index: int
    nodeset: str = ""  # "[N1, N3]"


_ROWS = TypeAdapter(tuple[_Row, ...])


def parse_segments(rows: Sequence[Mapping[str, Any]]) -> tuple[Segment, ...]:
    """Read the rows of segments.sql. Raises pydantic's ValidationError when they have another form."""
    return tuple(
        Segment(row.log_id, row.segment_index, frozenset(row.nodeset.strip("[]").split(", ")) - {""})
        for row in _ROWS.validate_python(rows)
    )


REPLICATION = re.compile(
    r"\{(?:(?:region|zone): [0-9]{1,3}, )*node: ([0-9]{1,3})(?:, (?:region|zone): [0-9]{1,3})*\}"
)
"""`{node: 2}`, or `{region: 2, node: 3}`: three copies in at least two regions."""


class _Replicated(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    replication_property: Annotated[str, Field(pattern=f"^{REPLICATION.pattern}$")]


class _Logs(BaseModel):
    """What of the metadata `bifrost_config` is read: how segments are kept that are made from now on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    replicated: Annotated[
        _Replicated, Field(validation_alias=AliasPath("config", "default_provider", "replicated"))
    ]


def parse_replication(metadata: Mapping[str, Any]) -> int:
    """Read on how many nodes logs are kept, in however many regions or zones these are.

    Raises pydantic's ValidationError where it is said otherwise.
    """
    kept = _Logs.model_validate(metadata).replicated.replication_property
    return int(REPLICATION.sub(r"\1", kept))


def find_last(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Give the segment of each log that is written to, in the order of the logs."""
    last = {segment.log_id: segment for segment in sorted(segments, key=lambda one: one.index)}
    return tuple(last[log_id] for log_id in sorted(last))


def find_written(segments: Sequence[Segment], node_id: str) -> tuple[int, ...]:
    """List the logs that are written to a node, in order."""
    return tuple(segment.log_id for segment in find_last(segments) if node_id in segment.nodes)
