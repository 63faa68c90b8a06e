"""What a bundle says of itself, in a metadata.json of its own or in the wrangler file it was built by."""

from __future__ import annotations

from collections.abc import Mapping

from gridiron.bundles.documents import parse_document
from gridiron.bundles.fields import Fields
from gridiron.bundles.paths import METADATA_FILE, WRANGLER_FILES
from gridiron.bundles.rules import take_rules
from gridiron.bundles.wrangler import REFUSED, parse_wrangler
from gridiron.model import Build, Compatibility, Manifest

DEFAULT_MAIN = Manifest().main

MAX_MANIFEST_SIZE = 4 * 1024 * 1024
"""Bytes of a manifest file: `vars` may take about 1 MiB, the list of modules of a stored build as much."""

OF_A_STORED_BUILD = frozenset(Build.model_fields) - frozenset(Manifest.model_fields)
"""Keys that Gridiron itself writes. They are passed over, so that a stored build can be deployed again."""

UNKNOWN = "it is unknown: remove it"
_HINTS = {
    "compatibility_date": 'write "compatibility": {"date": …}',
    "compatibility_flags": 'write "compatibility": {"flags": […]}',
}


def parse_manifest(files: Mapping[str, bytes]) -> Manifest:
    """Read the manifest of a bundle from the manifest files that it has, by name.

    `metadata.json` counts, else the first wrangler file, else the defaults. A wrangler file's `main` names
    the source that the bundle was built from, so it says nothing of the bundle's main module. Raises
    ManifestInvalid with all that is wrong with the file.
    """
    if METADATA_FILE in files:
        return _parse_metadata(METADATA_FILE, files[METADATA_FILE])
    for file in WRANGLER_FILES:
        if file in files:
            wrangler = parse_wrangler(file, files[file])
            return Manifest(
                name=wrangler.name,
                compatibility=wrangler.compatibility,
                vars=wrangler.vars,
                rules=wrangler.rules,
                required_secrets=wrangler.required_secrets,
            )
    return Manifest()


def _parse_metadata(file: str, content: bytes) -> Manifest:
    fields = Fields(parse_document(file, content))
    name, version = fields.take_text("name"), fields.take_text("version")
    main, variables = fields.take_main(), fields.take_vars()
    rules = take_rules(fields)
    required = fields.take_keys("required_secrets")
    compatibility = fields.below("compatibility")
    date, flags = compatibility.take_date("date"), compatibility.take_flags("flags")
    for key in compatibility.left:
        compatibility.refuse(key, UNKNOWN)
    for key in fields.left:
        if key not in OF_A_STORED_BUILD:
            fields.refuse(key, _HINTS.get(key, REFUSED.get(key, UNKNOWN)))
    fields.check(file)
    return Manifest(
        name=name,
        version=version,
        main=main or DEFAULT_MAIN,
        compatibility=Compatibility(date=date, flags=flags),
        vars=variables,
        rules=rules,
        required_secrets=required,
    )
