from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from gridiron.bundles.signature import create_key, load_trusted_keys, sign, verify
from gridiron.cli.deploy import Wanted, describe_progress, parse_variables, plan_request
from gridiron.cli.parcel import Parcel
from gridiron.ed25519 import parse_private_key
from gridiron.errors import IdentityMissing, NameInvalid
from gridiron.manager.api import ActivateRequest, Progress

Run = Callable[..., Result]
ANSWER: dict[str, Any] = {
    "outcome": "activated",
    "build_id": "greeter-1.1.0-2",
    "path": "/greeter/1.1.0-2",
    "deployment_id": "dp_2",
    "protocol": "BidiStream",
    "services": ["greeter"],
    "sha256": "0" * 64,
    "size": 832,
    "ignored": [],
    "replaces": ["greeter-1.0.0-1"],
    "changes": [],
    "takes_over": {},
    "keeps": [],
    "refusals": [],
    "copies": [],
    "timings_ms": {"stage": 1.5, "total": 20.0},
}
OLD = "GET /deployments/greeter-1.0.0-1"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    directory = tmp_path / "the greeter"
    directory.mkdir()
    (directory / "index.js").write_text("export default {}")
    (directory / "metadata.json").write_text('{"name": "greeter", "version": "1.1.0"}')
    return directory


def wanted(**overrides: Any) -> Wanted:
    fields: dict[str, Any] = {
        "name": None,
        "version": None,
        "variables": {},
        "dry_run": False,
        "wait_drained": False,
        "limit": timedelta(seconds=600),
    }
    return Wanted(**{**fields, **overrides})


def test_a_bundle_is_packed_sent_and_activated(run: Run, manager: Any, bundle: Path) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    result = run("deploy", str(bundle))
    assert result.exit_code == 0
    ((sha256, archive),) = manager.sent.items()
    assert sha256 == hashlib.sha256(archive).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["metadata.json", "index.js"]
    request = {"source": f"bundle:{sha256}", "sha256": sha256, "name": "greeter", "version": "1.1.0"}
    assert manager.asked == [("POST /activate", request)]
    assert result.stderr.splitlines() == [f"Preparing {bundle}", "Activating greeter 1.1.0"]
    assert result.stdout.splitlines() == [
        "greeter-1.1.0-2 is active.",
        "path        /greeter/1.1.0-2",
        "services    greeter",
        "deployment  dp_2",
        "protocol    BidiStream",
        "size        832 B",
        "steps       stage 1.5 ms, in all 20.0 ms",
        "replaces    greeter-1.0.0-1, which drains: what is in flight on it ends there",
    ]


def test_flags_win_over_what_the_bundle_says(run: Run, manager: Any, bundle: Path) -> None:
    manager.on("POST /activate", {**ANSWER, "outcome": "dry_run", "deployment_id": None, "replaces": []})
    options = ("--name", "other", "--version", "2.0.0", "--var", "A=1", "--var", "B=x=y", "--var", "A=")
    result = run("deploy", str(bundle), *options, "--dry-run")
    assert result.stdout.startswith("Dry run: ")
    (sha256,) = manager.sent
    request = {
        "source": f"bundle:{sha256}",
        "sha256": sha256,
        "name": "other",
        "version": "2.0.0",
        "vars": {"A": "", "B": "x=y"},
        "dry_run": True,
    }
    assert manager.asked == [("POST /activate", request)]


def test_a_dry_run_that_would_be_refused_fails(run: Run, manager: Any, bundle: Path) -> None:
    refusals = [{"code": "service_taken", "detail": "cart belongs to other-1-1."}]
    manager.on("POST /activate", {**ANSWER, "outcome": "dry_run", "refusals": refusals})
    result = run("deploy", str(bundle), "--dry-run")
    assert result.exit_code == 1
    assert "cart belongs to other-1-1.  [service_taken]" in result.stderr
    assert result.stdout.startswith("Dry run: greeter-1.1.0-2 would be refused.")


def test_what_is_allowed_goes_along(run: Run, manager: Any, bundle: Path) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    assert run("deploy", str(bundle), "--breaking", "--takeover").exit_code == 0
    assert manager.asked[0][1].items() >= {"breaking": True, "takeover": True}.items()


def test_the_same_again_is_a_success(run: Run, manager: Any, bundle: Path) -> None:
    manager.on("POST /activate", {**ANSWER, "outcome": "unchanged", "replaces": []})
    result = run("deploy", str(bundle))
    assert result.exit_code == 0
    assert result.stdout.startswith("greeter-1.1.0-2 is active already, with the same content")


def test_json_is_the_answer_and_how_the_drain_ended(
    run: Run, manager: Any, bundle: Path, make_view: Callable[..., dict[str, Any]]
) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    manager.on(OLD, make_view(state="draining"), make_view(state="drained"))
    assert json.loads(run("deploy", str(bundle), "--json").stdout) == {**ANSWER, "drained": None}
    result = run("deploy", str(bundle), "--json", "--wait-drained")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {**ANSWER, "drained": {"greeter-1.0.0-1": "drained"}}


def test_a_wait_shows_what_is_left(
    run: Run, manager: Any, bundle: Path, make_view: Callable[..., dict[str, Any]]
) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    manager.on(OLD, make_view(state="draining"), make_view(state="retired"))
    result = run("deploy", str(bundle), "--wait-drained")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == (
        "Waiting for greeter-1.0.0-1 to drain: 2 pinned, 1 being attempted"
    )
    assert result.stdout.splitlines()[-1] == "replaces    greeter-1.0.0-1, which is retired"


def test_a_drain_that_takes_too_long_is_a_failure(
    run: Run, manager: Any, bundle: Path, make_view: Callable[..., dict[str, Any]]
) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    manager.on(OLD, make_view(state="draining"))
    result = run("deploy", str(bundle), "--wait-drained", "--timeout", "3", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "title": "Drain unfinished",
        "detail": (
            "greeter-1.0.0-1 has not drained after 3 s: 2 pinned, 1 being attempted. The new build serves, "
            "and this one goes when it is done; `gridiron show greeter-1.0.0-1` tells how far it is."
        ),
        "code": "drain_unfinished",
        "build_id": "greeter-1.0.0-1",
    }


def test_a_warning_does_not_disturb_the_json(run: Run, manager: Any, bundle: Path) -> None:
    manager.on("POST /activate", {**ANSWER, "protocol": "RequestResponse"}, status=201)
    result = run("deploy", str(bundle), "--json")
    assert (result.exit_code, json.loads(result.stdout)["protocol"]) == (0, "RequestResponse")
    assert result.stderr == (
        "warning: greeter-1.1.0-2 runs in request-response mode, which is much slower: "
        "pass `bidirectional: true` to createEndpointHandler.\n"
    )


def test_a_failed_activation_names_its_step(run: Run, manager: Any, bundle: Path) -> None:
    detail = "The bundle does not load: SyntaxError"
    manager.refuse("POST /activate", 422, "script_failed", detail, step="discover")
    result = run("deploy", str(bundle), "--json")
    assert (result.exit_code, json.loads(result.stdout)["step"]) == (1, "discover")
    assert result.stderr == (
        "error: The activation failed at 'discover'. The bundle does not load: SyntaxError  [script_failed]\n"
    )


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda _: None, "source_missing"),
        (lambda path: path.mkdir(), "project_not_recognised"),
    ],
)
def test_what_is_no_project_reaches_no_manager(
    run: Run, manager: Any, tmp_path: Path, make: Callable[[Path], object], code: str
) -> None:
    make(tmp_path / "project")
    result = run("deploy", str(tmp_path / "project"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].endswith(f"  [{code}]")
    assert not manager.asked


@pytest.mark.parametrize("text", ["A", "=1", ""])
def test_a_variable_without_key_or_value(run: Run, manager: Any, bundle: Path, text: str) -> None:
    result = run("deploy", str(bundle), "--var", text)
    sentence = f"Invalid value for --var: {text!r} is not KEY=VALUE. Try `gridiron deploy --help`."
    assert (result.exit_code, result.stderr) == (2, f"error: {sentence}  [usage]\n")
    assert not manager.asked


def test_variables() -> None:
    assert parse_variables(["A=1", "B=x=y", "A=2"]) == {"A": "2", "B": "x=y"}


@pytest.mark.parametrize(
    ("name", "version", "field"), [(None, "1.0.0", "name"), ("greeter", None, "version")]
)
def test_a_bundle_without_an_identity(name: str | None, version: str | None, field: str) -> None:
    parcel = Parcel("bundle:0", name=name, version=version)
    with pytest.raises(IdentityMissing) as caught:
        plan_request(parcel, "greeter", wanted())
    assert str(caught.value) == (
        f"Nothing says which {field} greeter has: no manifest, no package.json, no commit. Give --{field}."
    )


def test_a_request() -> None:
    parcel = Parcel("https://example.org/greeter.zip", name="greeter", version="1.0.0")
    assert plan_request(parcel, "greeter", wanted(version="1.0.1")) == ActivateRequest(
        source="https://example.org/greeter.zip", name="greeter", version="1.0.1"
    )


def test_a_name_that_breaks_the_rule_is_found_before_anything_is_sent() -> None:
    parcel = Parcel("bundle:0", name="greeter", version="1.0.0")
    with pytest.raises(NameInvalid):
        plan_request(parcel, "greeter", wanted(name="Greeter"))


def test_a_url_is_left_to_the_manager(run: Run, manager: Any) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    source, sha256 = "s3://bucket/greeter/", "0" * 64
    options = ("--name", "greeter", "--version", "1.1.0", "--sha256", sha256)
    assert run("deploy", source, *options).exit_code == 0
    request = {"source": source, "sha256": sha256, "name": "greeter", "version": "1.1.0"}
    assert (manager.asked, manager.sent) == ([("POST /activate", request)], {})


def test_an_archive_is_sent_as_it_is(run: Run, manager: Any, tmp_path: Path) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    (tmp_path / "greeter.zip").write_bytes(b"an archive")
    sha256 = hashlib.sha256(b"an archive").hexdigest()
    options = ("--name", "greeter", "--version", "1.1.0", "--sha256", sha256)
    assert run("deploy", str(tmp_path / "greeter.zip"), *options).exit_code == 0
    assert manager.sent == {sha256: b"an archive"}


def test_an_archive_that_is_not_the_one_that_is_meant_is_not_sent(
    run: Run, manager: Any, tmp_path: Path
) -> None:
    (tmp_path / "greeter.zip").write_bytes(b"an archive")
    options = ("--name", "greeter", "--version", "1.1.0", "--sha256", "0" * 64)
    result = run("deploy", str(tmp_path / "greeter.zip"), *options)
    assert (result.exit_code, manager.asked, manager.sent) == (1, [], {})
    assert result.stderr.endswith("  [digest_mismatch]\n")


PROGRESS = (
    'event: progress\ndata: {"build_id": "greeter-1.1.0-2", "step": "stage", "done": 5, "total": 10}\n\n'
)


def test_the_outcome_may_come_as_events(run: Run, manager: Any, bundle: Path) -> None:
    answer = f"{PROGRESS}event: activated\ndata: {json.dumps(ANSWER)}\n\n"
    manager.on("POST /activate", answer, media_type="text/event-stream")
    result = run("deploy", str(bundle), "--json")
    assert (result.exit_code, json.loads(result.stdout)["build_id"]) == (0, "greeter-1.1.0-2")


def test_a_failure_may_come_as_an_event(run: Run, manager: Any, bundle: Path) -> None:
    problem = {"title": "Bad", "status": 422, "detail": "No.", "code": "archive_invalid", "step": "stage"}
    answer = f"{PROGRESS}event: problem\ndata: {json.dumps(problem)}\n\n"
    manager.on("POST /activate", answer, media_type="text/event-stream")
    result = run("deploy", str(bundle))
    assert result.exit_code == 1
    assert result.stderr.endswith("error: The activation failed at 'stage'. No.  [archive_invalid]\n")


def test_events_that_end_too_early_are_a_failure(run: Run, manager: Any, bundle: Path) -> None:
    manager.on("POST /activate", PROGRESS, media_type="text/event-stream")
    result = run("deploy", str(bundle))
    assert result.exit_code == 1
    assert "before the activation had an outcome" in result.stderr


def test_progress() -> None:
    stage = Progress(build_id="greeter-1.1.0-2", step="stage")
    assert describe_progress(stage) == "stage"
    assert describe_progress(stage.model_copy(update={"done": 5000})) == "stage, 5.0 kB"
    assert describe_progress(stage.model_copy(update={"done": 5000, "total": 60_000_000})) == (
        "stage, 5.0 kB of 60.0 MB"
    )


def test_a_key_signs_what_is_sent(run: Run, manager: Any, bundle: Path, tmp_path: Path) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    key = create_key()
    (tmp_path / "key").write_bytes(key.private)
    (tmp_path / "key.pub").write_bytes(key.public)
    assert run("deploy", str(bundle), "--key", str(tmp_path / "key")).exit_code == 0
    (sha256,) = manager.sent
    signature = manager.asked[0][1]["signature"]
    assert verify(signature, sha256, load_trusted_keys(tmp_path / "key.pub")) == key.key_id


def test_a_key_signs_the_digest_of_what_is_elsewhere_and_nothing_else(
    run: Run, manager: Any, tmp_path: Path
) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    key = create_key()
    (tmp_path / "key").write_bytes(key.private)
    arguments = ("deploy", "https://example.org/greeter.zip", "--name", "greeter", "--version", "1.1.0")
    unknown = run(*arguments, "--key", str(tmp_path / "key"))
    assert (unknown.exit_code, manager.asked) == (2, [])
    assert "--sha256" in unknown.stderr
    assert run(*arguments, "--key", str(tmp_path / "key"), "--sha256", "a" * 64).exit_code == 0
    signature = sign(parse_private_key("key", key.private), "a" * 64)
    assert manager.asked[0][1]["signature"] == signature


def test_a_signature_from_a_file_goes_along(run: Run, manager: Any, tmp_path: Path) -> None:
    manager.on("POST /activate", ANSWER, status=201)
    (tmp_path / "signature").write_text("c2ln\n")
    options = ("--name", "greeter", "--version", "1.1.0", "--signature", str(tmp_path / "signature"))
    assert run("deploy", "https://example.org/greeter.zip", *options).exit_code == 0
    assert manager.asked[0][1]["signature"] == "c2ln"


@pytest.mark.parametrize(("option", "code"), [("--key", "key_invalid"), ("--signature", "signature_invalid")])
def test_a_key_or_signature_that_cannot_be_read_is_told_as_for_gridiron_keys(
    run: Run, manager: Any, bundle: Path, option: str, code: str
) -> None:
    result = run("deploy", str(bundle), option, str(bundle / "missing"))
    assert (result.exit_code, manager.asked, manager.sent) == (1, [], {})
    assert result.stderr.endswith(f"  [{code}]\n")
