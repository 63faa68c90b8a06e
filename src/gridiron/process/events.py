"""How the processes of a node log: one event for each fact, as a line for people or as JSON for machines.

An event has a name of the form `build.activated`, which docs/logs.md lists, and fields. What is bound to the
context (`structlog.contextvars`), as the id of a request is, goes along with every event within.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gridiron.settings import Settings

FOREIGN = "line.printed"
"""The event of a line that another program, or a library, printed; the line is its `message`."""

FORCE_COLOR = "FORCE_COLOR"
"""The variable by which `gridiron up` says that a terminal shows what its roles print (force-color.org)."""


def resolve_format(settings: Settings, stream: TextIO) -> Settings:
    """Say for the format `auto` what it is: text on a terminal, JSON elsewhere."""
    if settings.log_format != "auto":
        return settings
    return settings.model_copy(update={"log_format": "text" if stream.isatty() else "json"})


def configure_logging(role: str, settings: Settings, stream: TextIO) -> None:
    """Set up logging for a role, or for what runs the node; its format is resolved. Safe to repeat."""
    in_json = settings.log_format == "json"
    stamp: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time" if in_json else "timestamp"),
    ]
    render = _json_processors(role) if in_json else _text_processors(stream)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*stamp, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    handler = logging.StreamHandler(stream)  # for libraries
    without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*stamp, _name_foreign], processors=[without_meta, *render]
    )
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _json_processors(role: str) -> list[Processor]:
    def begin(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        first = {key: event.pop(key) for key in ("time", "level", "event")}
        return {"role": role, **first, **event}

    return [
        structlog.processors.format_exc_info,  # shows no values: they may be secret
        begin,
        structlog.processors.JSONRenderer(serializer=_dump),
    ]


def _text_processors(stream: TextIO) -> list[Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=is_coloured(stream),
            force_colors=is_coloured(stream),
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,  # shows no values: they may be secret
        )
    ]


def is_coloured(stream: TextIO) -> bool:
    """Tell whether what is written there is for a terminal, which shows colours (no-color.org)."""
    return (stream.isatty() or bool(os.environ.get(FORCE_COLOR))) and not os.environ.get("NO_COLOR")


def _name_foreign(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Give what a library logs the form of an event."""
    name = logger.name if isinstance(logger, logging.Logger) else event["_record"].name
    return {**event, "event": FOREIGN, "component": name, "message": event["event"]}


def render_foreign(role: str, line: str, component: str | None = None) -> str:
    """Write a line that another program printed as an event in JSON; what is JSON itself gets the role."""
    try:
        said = json.loads(line) if line.startswith("{") and component is None else None
    except ValueError:
        said = None
    if isinstance(said, dict):
        return _dump({"role": role, **said})
    about = {} if component is None else {"component": component}
    time = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return _dump({"role": role, "time": time, "level": "info", "event": FOREIGN, **about, "message": line})


def is_event(line: str) -> bool:
    """Tell whether a line is an event in JSON that a role has written."""
    return line.startswith('{"role": "')


def _dump(event: Mapping[str, object], **_: object) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)
