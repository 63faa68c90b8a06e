from __future__ import annotations

import json

from audit.findings import Findings, parse_npm_audit, parse_npm_lock, parse_pip_audit, parse_pip_report

NONE = Findings()


def test_pip_audit_found_something() -> None:
    advisory = {"id": "PYSEC-2026-1", "fix_versions": ["2.1", "3.0"], "aliases": [], "description": ""}
    report = {
        "dependencies": [
            {"name": "good", "version": "1.0", "vulns": []},
            {
                "name": "bad",
                "version": "2.0",
                "vulns": [advisory, {**advisory, "id": "X-2", "fix_versions": []}],
            },
        ],
        "fixes": [],
    }
    assert parse_pip_audit(json.dumps(report), "Found 2 known vulnerabilities") == Findings(
        ("bad 2.0: PYSEC-2026-1, mended by 2.1, 3.0", "bad 2.0: X-2, mended by no version yet")
    )


def test_pip_audit_that_could_ask_nobody_is_not_one_that_found_nothing() -> None:
    skipped = [{"name": name, "skip_reason": "not found on PyPI"} for name in ("first", "second")]
    report = {"dependencies": skipped, "fixes": []}
    assert parse_pip_audit(json.dumps(report), "No known vulnerabilities found") == Findings(
        unknown=("PyPI told nothing of 2 packages, such as first",)
    )
    assert parse_pip_audit("", "trace\nConnectionError: refused\n\n") == Findings(
        unknown=("pip-audit says nothing: ConnectionError: refused",)
    )
    assert parse_pip_audit('{"dependencies": [], "fixes": []}', "") == NONE


def test_npm_audit() -> None:
    found = {"range": "<4.17", "severity": "high", "via": [{"url": "https://advisories.test/1"}, "other"]}
    report = {"auditReportVersion": 2, "vulnerabilities": {"bad": found}}
    assert parse_npm_audit(json.dumps(report), "") == Findings(
        ("bad <4.17: high, by way of https://advisories.test/1, other",)
    )
    assert parse_npm_audit('{"auditReportVersion": 2, "vulnerabilities": {}}', "") == NONE
    assert parse_npm_audit('{"message": "405 Method Not Allowed"}', "npm error") == Findings(
        unknown=("npm says nothing: 405 Method Not Allowed",)
    )
    assert parse_npm_audit("", "npm error ENOTFOUND") == Findings(
        unknown=("npm says nothing: npm error ENOTFOUND",)
    )


def test_what_was_yanked() -> None:
    package = {"metadata": {"name": "attrs", "version": "21.1.0"}, "is_yanked": True}
    report = {"install": [package, {**package, "is_yanked": False}]}
    assert parse_pip_report(json.dumps(report), "") == Findings(("attrs 21.1.0: its authors have yanked it",))
    assert parse_pip_report("", "") == Findings(unknown=("pip says nothing: and not why",))


def test_what_was_deprecated() -> None:
    lock = {"packages": {"": {}, "node_modules/a": {}, "node_modules/b": {"deprecated": "use a"}}}
    assert parse_npm_lock(json.dumps(lock)) == Findings(("node_modules/b: use a",))
