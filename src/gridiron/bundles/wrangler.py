"""What a node makes of each key of a wrangler file: uses it, passes it over, or refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gridiron.bundles.documents import parse_document
from gridiron.bundles.fields import Fields
from gridiron.bundles.rules import take_wrangler_rules
from gridiron.model import Compatibility, Rule

_BUILDS = "it says how wrangler builds the project"
_SITE = "it says how Cloudflare runs or shows the worker"
_TOOL = "it is for wrangler or an editor"

PASSED_OVER: Mapping[str, str] = {
    "alias": _BUILDS,
    "base_dir": _BUILDS,
    "build": _BUILDS,
    "define": _BUILDS,
    "find_additional_modules": _BUILDS,
    "jsx_factory": _BUILDS,
    "jsx_fragment": _BUILDS,
    "keep_names": _BUILDS,
    "no_bundle": _BUILDS,
    "preserve_file_names": _BUILDS,
    "tsconfig": _BUILDS,
    "upload_source_maps": _BUILDS,
    "account_id": _SITE,
    "cache": _SITE,
    "compliance_region": _SITE,
    "keep_vars": _SITE,
    "limits": _SITE,
    "logpush": _SITE,
    "observability": _SITE,
    "placement": _SITE,
    "preview_urls": _SITE,
    "route": _SITE,
    "routes": _SITE,
    "workers_dev": _SITE,
    "$schema": _TOOL,
    "dependencies_instrumentation": _TOOL,
    "dev": _TOOL,
    "send_metrics": _TOOL,
    "env": "it changes the file for other environments; what stands outside of it is deployed",
    "previews": "it changes the file for previews; what stands outside of it is deployed",
}
"""Keys that mean nothing to a node and do no harm, each with the reason."""

_NO_STORAGE = "a node has no such store: keep the state in Restate (`ctx.set`), or use one over HTTP"
_NO_SERVICE = "a node has no such service: call one over HTTP from the handler, and remove this"
_NO_OBJECT = "a node has no Durable Objects: make it a virtual object of Restate, and remove this"
_NO_FILES = "a node serves Restate services and no files: serve them elsewhere, and remove this"
_NO_SECRETS_STORE = (
    "a node has no store of secrets for several names: `gridiron secret put NAME KEY`, and remove this"
)
_NO_LOGS = "a node passes its logs to no worker: remove this"
_NO_NETWORK = "workers of a node reach the public internet only: remove this"
_NO_CONTAINERS = "a node runs no containers: remove this"
_NO_BLOBS = "import the file in the code, and remove this"

REFUSED: Mapping[str, str] = {
    "agent_memory": _NO_SERVICE,
    "ai": _NO_SERVICE,
    "ai_search": _NO_SERVICE,
    "ai_search_namespaces": _NO_SERVICE,
    "analytics": _NO_SERVICE,
    "analytics_engine_datasets": _NO_SERVICE,
    "artifacts": _NO_SERVICE,
    "browser": _NO_SERVICE,
    "flagship": _NO_SERVICE,
    "images": _NO_SERVICE,
    "media": _NO_SERVICE,
    "mtls_certificates": _NO_SERVICE,
    "pipelines": _NO_SERVICE,
    "send_email": _NO_SERVICE,
    "stream": _NO_SERVICE,
    "d1_databases": _NO_STORAGE,
    "hyperdrive": _NO_STORAGE,
    "k2": _NO_STORAGE,
    "kv_namespaces": _NO_STORAGE,
    "r2_buckets": _NO_STORAGE,
    "vectorize": _NO_STORAGE,
    "durable_objects": _NO_OBJECT,
    "exports": _NO_OBJECT,
    "migrations": _NO_OBJECT,
    "assets": _NO_FILES,
    "pages_build_output_dir": _NO_FILES,
    "site": _NO_FILES,
    "secrets_store_secrets": _NO_SECRETS_STORE,
    "logfwdr": _NO_LOGS,
    "streaming_tail_consumers": _NO_LOGS,
    "tail_consumers": _NO_LOGS,
    "connect": _NO_NETWORK,
    "vpc_networks": _NO_NETWORK,
    "vpc_services": _NO_NETWORK,
    "cloudchamber": _NO_CONTAINERS,
    "containers": _NO_CONTAINERS,
    "data_blobs": _NO_BLOBS,
    "text_blobs": _NO_BLOBS,
    "wasm_modules": _NO_BLOBS,
    "access": "nothing here checks Cloudflare Access: guard the ingress yourself, and remove this",
    "addresses": "a node receives no mail: remove this",
    "dispatch_namespaces": "a node has no namespaces of workers: call the other service through Restate",
    "first_party_worker": "there is no such thing outside of Cloudflare: remove this",
    "python_modules": "a bundle is made of JavaScript and Wasm: remove this",
    "queues": "a node has no queues: send to a handler of Restate (`ctx.serviceSendClient`), and remove this",
    "ratelimits": "a node limits no rates: remove this",
    "services": "a node binds no workers to each other: call the other service through Restate",
    "triggers": "a node starts nothing by the clock: use a delayed send of Restate, and remove this",
    "unsafe": "it is for Cloudflare alone: remove this",
    "unsafe_hello_world": "it is an example: remove this",
    "version_metadata": "a node has no such binding: put the version into `vars`",
    "worker_loaders": "a bundle loads no workers of its own: remove this",
    "workflows": "a node has no Cloudflare workflows: make it a workflow of Restate, and remove this",
}
"""Keys that a worker would miss or that promise what a node does not do, each with what to do instead."""

_SPECIAL = frozenset(
    {
        *("base_dir", "find_additional_modules", "jsx_factory", "jsx_fragment", "keep_names", "no_bundle"),
        *("preserve_file_names", "tsconfig"),
    }
)
"""Keys of `PASSED_OVER` that say how wrangler builds, and that nothing else here builds by."""

_MINIFIED = "the Restate SDK breaks when it is minified: remove this"


@dataclass(frozen=True, slots=True)
class Wrangler:
    """What a node uses of a wrangler file."""

    name: str | None
    main: str | None  # the source that the bundle is built from, relative to the file
    compatibility: Compatibility
    vars: dict[str, Any]
    rules: tuple[Rule, ...] = ()  # for what wrangler builds
    base: str | None = None  # the directory that modules are named from which wrangler leaves apart
    required_secrets: tuple[str, ...] = ()
    command: str | None = None  # for the shell, to be run before the bundle is built
    command_cwd: str = "."  # where, relative to the file
    defines: Mapping[str, str] = field(default_factory=dict)  # names that esbuild puts expressions for
    aliases: Mapping[str, str] = field(default_factory=dict)  # what it takes instead of a module
    special: tuple[str, ...] = ()  # keys that only wrangler itself builds by


def parse_wrangler(file: str, content: bytes) -> Wrangler:
    """Read a wrangler file; `file` is its name. Raises ManifestInvalid with all that is wrong with it."""
    fields = Fields(parse_document(file, content))
    wrangler = Wrangler(
        name=fields.take_text("name"),
        main=fields.take_text("main"),
        compatibility=Compatibility(
            date=fields.take_date("compatibility_date"), flags=fields.take_flags("compatibility_flags")
        ),
        vars=fields.take_vars(),
        rules=take_wrangler_rules(fields),
        base=_find_base(fields.left),
        required_secrets=_take_required(fields.below("secrets")),
        command=_find_text(fields.left.get("build"), "command"),
        command_cwd=_find_text(fields.left.get("build"), "cwd") or ".",
        defines=_find_texts(fields.left.get("define")),
        aliases=_find_texts(fields.left.get("alias")),
        special=tuple(sorted(_SPECIAL & fields.left.keys())),
    )
    for key, value in fields.left.items():
        problem = _find_problem(key, value)
        if problem:
            fields.refuse(key, problem)
    fields.check(file)
    return wrangler


def _find_base(keys: Mapping[str, Any]) -> str | None:
    """Give `base_dir` where it has a meaning: where not all that is imported goes into one file."""
    base = keys.get("base_dir")
    is_apart = keys.get("no_bundle") is True or keys.get("find_additional_modules") is True
    return base if is_apart and isinstance(base, str) else None


def _take_required(secrets: Fields) -> tuple[str, ...]:
    required = secrets.take_keys("required")
    for key in secrets.left:
        secrets.refuse(key, "it is unknown to Gridiron: remove this")
    return required


def _find_text(table: object, key: str) -> str | None:
    """Give a text of a table that means nothing to a node; None for anything else: wrangler refuses it."""
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) and value else None


def _find_texts(table: object) -> dict[str, str]:
    """Give the texts of such a table."""
    given = table if isinstance(table, dict) else {}
    return {str(key): value for key, value in given.items() if isinstance(value, str)}


def _find_problem(key: str, value: object) -> str | None:
    """Say why a key cannot be deployed, and what to do; None where it can."""
    if key in PASSED_OVER:
        return None
    if key == "minify":
        return None if value is False else _MINIFIED
    return REFUSED.get(key, "it is unknown to Gridiron: remove this")
