"""The table of a soak, and its verdict. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from soak.ledger import Fault, Ledger

SHOWN = 20
"""Findings of one kind that are told in full."""


def render_table(ledger: Ledger, now: float) -> str:
    """Write what was counted by `now`, in Markdown."""
    lines = ["| what | count | of these |", "| --- | ---: | --- |"]
    lines += [f"| {what} | {count} | {details} |" for what, count, details in _rows(ledger, now)]
    return "\n".join(lines)


def render_findings(ledger: Ledger) -> str:
    """Tell what was found wrong, by kind; empty where nothing was."""
    lines = []
    for fault in Fault:
        texts = [finding.text for finding in ledger.findings if finding.fault is fault]
        if texts:
            lines.append(f"{fault.value}: {len(texts)}")
            lines += [f"  {text}" for text in texts[:SHOWN]]
            lines += [f"  … and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return "\n".join(lines)


def _rows(ledger: Ledger, now: float) -> Iterator[tuple[str, int, str]]:
    yield "calls answered", ledger.answered.total(), _details(ledger.answered)
    yield "of them by a version replaced meanwhile", ledger.crossed, f"longest {ledger.longest_seconds:.1f} s"
    oldest = max((now - call.sent_at for call in ledger.under_way.values()), default=0)
    yield "calls under way", len(ledger.under_way), f"for up to {oldest:.1f} s"
    yield "attempts repeated", ledger.repeated.total(), _details(ledger.repeated)
    for kind in sorted(_kinds(ledger)):
        yield kind, ledger.acknowledged[kind], _details(_of(ledger, kind))
    yield "kills", ledger.kills.total(), _details(ledger.kills)
    found = Counter(finding.fault for finding in ledger.findings)
    for fault in Fault:
        yield fault.value, found[fault], ""


def _kinds(ledger: Ledger) -> set[str]:
    return (
        set(ledger.acknowledged)
        | {kind for kind, _ in ledger.refused}
        | {kind for kind, _ in ledger.unanswered}
    )


def _of(ledger: Ledger, kind: str) -> Mapping[str, int]:
    """Count what was not acknowledged of one kind of request, by reason."""
    refused = {code: count for (each, code), count in ledger.refused.items() if each == kind}
    unanswered = {
        "answer lost" + (f", {fate.value}" if fate else ""): count
        for (each, fate), count in ledger.unanswered.items()
        if each == kind
    }
    return {**refused, **unanswered}


def _details(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
