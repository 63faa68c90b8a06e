"""How a manager ends: what is under way may come to its end, within limits that its supervisor knows, too.

    0 s   SIGTERM: not ready any more, no new connections; whoever follows a build is told
    2 s   bundles that still come in break off, so that their senders get an answer
    3 s   requests that are still under way are cut, and then activations whose clients have gone
    4 s   the process ends whatever it is doing

What is cut is as if the manager had been killed, which costs nothing but that request. The last limit is for
what nothing can cut: a thread that waits for a disk, or for a resolver of names that does not answer.
"""

from __future__ import annotations

import os
import threading
from datetime import timedelta

import structlog

log = structlog.get_logger()

INTAKE_LIMIT = timedelta(seconds=2)
"""How long a bundle may still come in."""

REQUEST_LIMIT = timedelta(seconds=3)
"""How long a request may still take; an activation takes well under one second."""

CUT_LIMIT = timedelta(seconds=3.5)
"""How long an activation may still take whose client has gone; the server has cut all others by then."""

END_LIMIT = timedelta(seconds=4)
"""After this there is no process. A node in the foreground ends within ten seconds as a whole."""


def end_in_time() -> None:
    """See to it that this process has ended when the limit has passed, whatever its threads do."""
    timer = threading.Timer(END_LIMIT.total_seconds(), _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    log.error("manager.cut_off", after_seconds=END_LIMIT.total_seconds())
    os._exit(1)
