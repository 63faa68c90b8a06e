"""Every failure that Gridiron reports, as one tree.

    GridironError
    ├── BadInput         the caller has to change something
    │   ├── source         SourceMissing SourceNotADirectory SourceSchemeUnsupported SourceUnreadable
    │   │                  SourceOutsideRoots SourceInsecure SourceAddressRefused SourceRedirectsTooOften
    │   │                  SourceRefused SourceTooLarge SourceHasTooManyFiles SourceTooSlow
    │   │                  SourcePrivate
    │   │                  ArchiveInvalid UploadNotFound UploadIncomplete
    │   ├── bundle         BundleEmpty BundleTooLarge BundleHasLink BundleHasDevice BundlePathInvalid
    │   │                  BundlePathEscapes BundlePathTwice BundlePathCollides BundlePathNotUtf8
    │   │                  MainModuleMissing ManifestInvalid DigestMismatch
    │   ├── signature      SignatureMissing SignatureInvalid KeyInvalid IdentityGiven
    │   ├── names          NameInvalid VersionInvalid
    │   ├── script         ScriptFailed NoRestateService
    │   ├── project        ProjectNotRecognised BuildStepFailed IdentityMissing DirectoryNotEmpty
    │   ├── secrets        SecretInvalid SecretTooLarge SecretsMissing SecretIsVariable
    │   ├── backup         BackupExists BackupInvalid BackupMismatch BackupOfCluster DataNotEmpty
    │   ├── access         ScopeInvalid TokenNameInvalid LifetimeInvalid TokenUnusable TokenNotSent
    │   │                  ListenerForeign CertificateInvalid
    │   ├── cluster        GrowRefused
    │   └── other          RequestInvalid RequestTooLarge RequestTooSlow SettingsInvalid TemplateInvalid
    ├── Unauthenticated  TokenMissing TokenInvalid TokenExpired PeerUnknown PeerClockDiffers
    ├── Forbidden        ScopeMissing TakeoverForbidden
    ├── TooMany          RateExceeded LoginsSlowed
    ├── NotFound         BuildNotFound SecretNotFound TokenNotFound ObjectMissing
    │                  NodeAlone NodeNotFound
    ├── Conflict         ActivationInProgress BuildInUse ServiceTaken BreakingChange NothingToRollBackTo
    │                    RegistrationLost BackupUnderWay ObjectExists ObjectChanged NodeNeeded
    │                    NodeRunning
    ├── Unavailable      RestateUnavailable RegistrationUnknown WorkersUnavailable ManagerUnavailable
    │                    DrainUnknown RoutingUnknown SourceUnreachable IntakeBusy ManagerStopping
    │                    RotationPending BackupFailed BucketUnavailable LeaseTaken LeaseLost
    ├── Rejected         RestateRejected InvocationFailed ClusterRejected ProxyRefused BucketRefused
    ├── Environment      ToolMissing ToolVersionWrong ToolchainNotInstalled PortTaken DirectoryInUse
    │                    StorageFailed ProjectNotWritten BundlesElsewhere ComponentFailed ConfigNotApplied
    │                    SecretsUnreadable SecretKeyInvalid RestoreUnfinished TokensUnreadable
    │                    AuditUnavailable ObjectDamaged ClusterKeyDiffers ClusterNotGrown
    │                    ClusterTableMissing
    └── ActivationFailed the step of an activation that failed; its cause is one of the above

A class has a stable `code` and a `sentence` over its own fields that says what happened and what to do.
The edges (HTTP, command line) turn both into an answer; nothing else compares sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class GridironError(Exception):
    """Any failure that has a stable code; `str()` gives its sentence."""

    code: ClassVar[str]
    sentence: ClassVar[str]

    def __str__(self) -> str:
        return self.sentence.format(**vars(self))


class BadInput(GridironError):
    """The caller has to change something; trying again as it is will fail again."""


class Unauthenticated(GridironError):
    """Nobody knows who asks."""


class Forbidden(GridironError):
    """Who asks may not do this."""


@dataclass(eq=False)
class TooMany(GridironError):
    """Who asks does so too often."""

    retry_seconds: int  # after which it may ask again


class NotFound(GridironError):
    """What was named does not exist here."""


class Conflict(GridironError):
    """It cannot be done in the state that things are in."""


class Unavailable(GridironError):
    """A component cannot be reached or did not answer; trying again later may help."""


class Rejected(GridironError):
    """A component answered, and refused."""


class Environment(GridironError):
    """The machine lacks something that Gridiron needs."""


# -- sources and bundles ---------------------------------------------------------------------------------


@dataclass(eq=False)
class SourceMissing(BadInput):
    """The source of a bundle does not exist."""

    code = "source_missing"
    sentence = "{path} does not exist. Give the path of a bundle: a directory with index.js in it."
    path: str


@dataclass(eq=False)
class SourceNotADirectory(BadInput):
    """What should be a directory is something else."""

    code = "source_not_a_directory"
    sentence = "{path} is not a directory. Give the directory that holds index.js."
    path: str


@dataclass(eq=False)
class SourceSchemeUnsupported(BadInput):
    """The source is no URL that this node can read."""

    code = "source_scheme_unsupported"
    sentence = (
        "{source!r} is no source. Give file:///absolute/path, https://…, s3://bucket/key, "
        "or bundle:{{sha256}} of an archive that was uploaded."
    )
    source: str  # as it may be shown


@dataclass(eq=False)
class SourceUnreadable(BadInput):
    """A file of the bundle cannot be read by the manager."""

    code = "source_unreadable"
    sentence = "{path} cannot be read ({reason}). Let the manager's user read it, then try again."
    path: str
    reason: str


@dataclass(eq=False)
class SourceOutsideRoots(BadInput):
    """A `file://` source is not below a directory that the manager may read bundles from."""

    code = "source_outside_roots"
    sentence = (
        "{path} is not below a directory that this node takes bundles from. Upload it, as `gridiron deploy` "
        "does, or have the node's operator add its directory to GRIDIRON_SOURCE_ROOTS."
    )
    path: str


@dataclass(eq=False)
class SourcePrivate(BadInput):
    """A source would show what a node or its cluster keeps to itself: secrets, tokens, keys, other builds."""

    code = "source_private"
    sentence = "{path} is, or holds, what this node keeps to itself. Give a directory with the bundle alone."
    path: str


@dataclass(eq=False)
class SourceInsecure(BadInput):
    """An `http://` source, or a redirect to one, on a node that takes https only."""

    code = "source_insecure"
    sentence = "{url} is not https. Use https, or set GRIDIRON_SOURCE_HTTP=true on a network that you trust."
    url: str


@dataclass(eq=False)
class SourceAddressRefused(BadInput):
    """The host of a source, or of a redirect, has an address that is not public and not allowed."""

    code = "source_address_refused"
    sentence = (
        "{host} leads to {address}, which is not a public address. Upload the bundle instead, or have the "
        "node's operator add a range to GRIDIRON_SOURCE_ALLOW."
    )
    host: str
    address: str


@dataclass(eq=False)
class SourceRedirectsTooOften(BadInput):
    """A source leads from one URL to the next for too long."""

    code = "source_redirects_too_often"
    sentence = "{url} redirects more than {limit} times. Give the URL at which the bundle is."
    url: str
    limit: int


@dataclass(eq=False)
class SourceRefused(BadInput):
    """The server of a source answered, and has no such thing or does not give it."""

    code = "source_refused"
    sentence = "{source} cannot be fetched: {reason}. Check that it is there and that the node may read it."
    source: str
    reason: str


@dataclass(eq=False)
class SourceTooLarge(BadInput):
    """A source has more bytes, as they come or unpacked, than a node takes."""

    code = "source_too_large"
    sentence = (
        "The source has more than {limit} bytes, packed or unpacked. Leave out what is no part of the bundle."
    )
    limit: int


@dataclass(eq=False)
class SourceHasTooManyFiles(BadInput):
    """A source has more entries than a node takes."""

    code = "source_has_too_many_files"
    sentence = "The source has more than {limit} files. Leave out what is no part of the bundle."
    limit: int


@dataclass(eq=False)
class SourceTooSlow(BadInput):
    """A source did not come in time."""

    code = "source_too_slow"
    sentence = (
        "The source did not come within {seconds} s. Try again, upload it, or have the node's operator "
        "raise GRIDIRON_SOURCE_SECONDS."
    )
    seconds: int


@dataclass(eq=False)
class ArchiveInvalid(BadInput):
    """What should be an archive is none, or is damaged or of a kind that is not taken."""

    code = "archive_invalid"
    sentence = "The archive cannot be unpacked: {reason}. Make it anew, as .tar.gz or .zip."
    reason: str


@dataclass(eq=False)
class UploadNotFound(BadInput):
    """No archive of this digest was sent, or it was too long ago."""

    code = "upload_not_found"
    sentence = "No archive with the sha256 {sha256} is here (any more). Send it: PUT /bundles/{sha256}."
    sha256: str


@dataclass(eq=False)
class UploadIncomplete(BadInput):
    """A client went away before all of its archive had come."""

    code = "upload_incomplete"
    sentence = "The archive with the sha256 {sha256} broke off. Nothing of it was kept; send it again."
    sha256: str


@dataclass(eq=False)
class BundleEmpty(BadInput):
    """The directory has no module in it."""

    code = "bundle_empty"
    sentence = "{path} has no module in it. A bundle needs at least its main module, index.js."
    path: str


@dataclass(eq=False)
class BundleTooLarge(BadInput):
    """The modules are larger than workerd loads."""

    code = "bundle_too_large"
    sentence = "The modules have {size} bytes in all; {limit} is the most that workerd loads. Leave some out."
    size: int
    limit: int


@dataclass(eq=False)
class BundleHasLink(BadInput):
    """The bundle holds a symbolic or hard link."""

    code = "bundle_has_link"
    sentence = "{path} is a link. A bundle holds plain files only: put the file itself there."
    path: str


@dataclass(eq=False)
class BundleHasDevice(BadInput):
    """The bundle holds something that is neither a file, a directory nor a link."""

    code = "bundle_has_device"
    sentence = "{path} is {kind}. A bundle holds plain files only: leave it out."
    path: str
    kind: str


@dataclass(eq=False)
class BundlePathEscapes(BadInput):
    """A path leads out of the bundle."""

    code = "bundle_path_escapes"
    sentence = "The path {path!r} leads out of the bundle. Make the archive anew, with relative paths."
    path: str


@dataclass(eq=False)
class BundlePathTwice(BadInput):
    """An archive holds two entries of one path, or a file where it also has a directory."""

    code = "bundle_path_twice"
    sentence = "The path {path!r} is in the archive twice. Make the archive anew, with each file once."
    path: str


@dataclass(eq=False)
class BundlePathCollides(BadInput):
    """Two paths differ by upper and lower case only."""

    code = "bundle_path_collides"
    sentence = "The path {path!r} differs from {other!r} by upper and lower case only. Rename one of them."
    path: str
    other: str


@dataclass(eq=False)
class BundlePathNotUtf8(BadInput):
    """A path is not UTF-8."""

    code = "bundle_path_not_utf8"
    sentence = "The path {path!r} is not UTF-8. Rename it."
    path: str


@dataclass(eq=False)
class BundlePathInvalid(BadInput):
    """A path cannot be a module's name."""

    code = "bundle_path_invalid"
    sentence = "The path {path!r} cannot be in a bundle: {reason}. Rename or remove it."
    path: str
    reason: str


@dataclass(eq=False)
class MainModuleMissing(BadInput):
    """The main module is not in the bundle."""

    code = "main_module_missing"
    sentence = "The bundle has no {main}, its main module. Build the project first, or name another `main`."
    main: str


@dataclass(eq=False)
class ManifestInvalid(BadInput):
    """`metadata.json`, `wrangler.toml` or `wrangler.jsonc` says something that a node cannot do."""

    code = "manifest_invalid"
    sentence = "{file}: {problems}."
    file: str
    problems: str


@dataclass(eq=False)
class DigestMismatch(BadInput):
    """The content is not what the caller said that it is."""

    code = "digest_mismatch"
    sentence = "The bundle's sha256 is {actual}, and {expected} was asked for. Nothing was stored."
    expected: str
    actual: str


@dataclass(eq=False)
class SignatureMissing(BadInput):
    """A node that takes signed bundles only got one without a signature."""

    code = "signature_missing"
    sentence = (
        "This node takes signed bundles only, and this one has no signature (its sha256 is {sha256}). "
        "Make one with `gridiron keys sign`, with a key that the node trusts."
    )
    sha256: str


@dataclass(eq=False)
class SignatureInvalid(BadInput):
    """A signature is none, or none of the trusted keys made it for this content."""

    code = "signature_invalid"
    sentence = (
        "The signature does not hold: {reason}. Sign what is deployed, with a key that is trusted; "
        "`gridiron keys verify` checks it."
    )
    reason: str


@dataclass(eq=False)
class KeyInvalid(BadInput):
    """A file of a key to sign with, or to verify with, cannot be used."""

    code = "key_invalid"
    sentence = "The key {file} cannot be used: {reason}. `gridiron keys create` makes one."
    file: str
    reason: str


@dataclass(eq=False)
class IdentityGiven(BadInput):
    """The key that Restate signs with is the operator's to change."""

    code = "identity_given"
    sentence = (
        "GRIDIRON_IDENTITY_KEY gives the key that Restate signs with, {path}. "
        "Put another into that file, then start Restate again."
    )
    path: str


@dataclass(eq=False)
class NameInvalid(BadInput):
    """The name of a bundle breaks the rule."""

    code = "name_invalid"
    sentence = "{name!r} is no name of a bundle: a-z first, then up to 62 of a-z, 0-9 and '-'."
    name: str


@dataclass(eq=False)
class VersionInvalid(BadInput):
    """The version of a bundle breaks the rule."""

    code = "version_invalid"
    sentence = "{version!r} is no version: a letter or digit first, then up to 63 of those and '.', '_', '-'."
    version: str


@dataclass(eq=False)
class ScriptFailed(BadInput):
    """workerd could not load the bundle: a syntax error, or an error that the script threw at its start."""

    code = "script_failed"
    sentence = "The bundle does not load: {reason}"
    reason: str


@dataclass(eq=False)
class NoRestateService(BadInput):
    """The bundle loads, and serves no Restate service."""

    code = "no_restate_service"
    sentence = (
        "The bundle serves no Restate service ({reason}). Its default export needs "
        "`fetch: createEndpointHandler({{ services: […], bidirectional: true }})`."
    )
    reason: str


# -- projects --------------------------------------------------------------------------------------------


@dataclass(eq=False)
class ProjectNotRecognised(BadInput):
    """The directory is neither a built bundle nor a project that can be built."""

    code = "project_not_recognised"
    sentence = (
        "{path} is no bundle (index.js) and no project (wrangler.toml, index.ts, src/index.ts, or "
        "src/index.js with package.json). Give another directory, or make one: `gridiron init NAME`."
    )
    path: str


@dataclass(eq=False)
class BuildStepFailed(BadInput):
    """The project's own build failed."""

    code = "build_step_failed"
    sentence = "The project does not build ({command}):\n{output}"
    command: str
    output: str


@dataclass(eq=False)
class IdentityMissing(BadInput):
    """Nothing says which name or version the bundle has."""

    code = "identity_missing"
    sentence = (
        "Nothing says which {field} {path} has: no manifest, no package.json, no commit. Give --{field}."
    )
    field: str
    path: str


@dataclass(eq=False)
class DirectoryNotEmpty(BadInput):
    """A new project was to be made where there is something already."""

    code = "directory_not_empty"
    sentence = "{path} is not empty, and nothing in it was changed. Give another directory: --dir."
    path: str


# -- secrets ---------------------------------------------------------------------------------------------


@dataclass(eq=False)
class SecretInvalid(BadInput):
    """What was given as a secret cannot be one. It is not repeated here: it may be the secret itself."""

    code = "secret_invalid"
    sentence = "That is no secret: {problem}."
    problem: str


@dataclass(eq=False)
class SecretTooLarge(BadInput):
    """A secret, or all of a name together, are more than a node keeps."""

    code = "secret_too_large"
    sentence = "{what} {amount}, and {limit} is the most. Keep less, and fetch large data from elsewhere."
    what: str
    amount: str
    limit: str


@dataclass(eq=False)
class SecretsMissing(BadInput):
    """A bundle requires secrets that its name has not."""

    code = "secrets_missing"
    sentence = (
        "The bundle requires secrets that {name} does not have: {keys}. "
        "Put each of them, its value on standard input: `{command}`."
    )
    name: str
    keys: str
    command: str


@dataclass(eq=False)
class SecretIsVariable(BadInput):
    """A binding is to be a variable and a secret."""

    code = "secret_is_variable"
    sentence = (
        "The bundle has variables where {name} has secrets: {keys}. Take them out of `vars`, or remove the "
        "secrets: `gridiron secret delete {name} KEY`."
    )
    name: str
    keys: str


# -- requests and settings -------------------------------------------------------------------------------


@dataclass(eq=False)
class RequestInvalid(BadInput):
    """The body or a parameter of a request is not as described."""

    code = "request_invalid"
    sentence = "{problems}. /openapi.json describes what this request takes."
    problems: str


@dataclass(eq=False)
class RequestTooLarge(BadInput):
    """The body of a request is larger than a manager reads."""

    code = "request_too_large"
    sentence = "The request has more than {limit} bytes. A bundle is sent by PUT /bundles/{{sha256}}."
    limit: int


@dataclass(eq=False)
class RequestTooSlow(BadInput):
    """The body of a request did not come in time."""

    code = "request_too_slow"
    sentence = "The request's body did not come within {seconds} s. Send it again, faster."
    seconds: int


@dataclass(eq=False)
class SettingsInvalid(BadInput):
    """A flag, variable or line of gridiron.toml has a value that cannot be used."""

    code = "settings_invalid"
    sentence = "{setting}: {problem}."
    setting: str
    problem: str


@dataclass(eq=False)
class TemplateInvalid(BadInput):
    """The template of a generated configuration cannot be rendered."""

    code = "template_invalid"
    sentence = "{template}: {problem}."
    template: str
    problem: str


# -- access ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class TokenMissing(Unauthenticated):
    """A request came without a token."""

    code = "token_missing"
    sentence = (
        "This needs a token: `Authorization: Bearer …`. The command line takes it from GRIDIRON_TOKEN_FILE "
        "or GRIDIRON_TOKEN, or, on the manager's machine and as its user, finds the admin's by itself."
    )


@dataclass(eq=False)
class TokenInvalid(Unauthenticated):
    """A token is none of this node's, or was revoked."""

    code = "token_invalid"
    sentence = "The token is none of this node's (any more). An admin makes one: `gridiron token create`."


@dataclass(eq=False)
class TokenExpired(Unauthenticated):
    """A token was good until a while ago."""

    code = "token_expired"
    sentence = "The token {name} expired at {expired_at}. An admin makes one: `gridiron token create`."
    name: str
    expired_at: str


@dataclass(eq=False)
class PeerUnknown(Unauthenticated):
    """A request at the port for a cluster's nodes is not signed with the key that they share."""

    code = "peer_unknown"
    sentence = (
        "This port is for the nodes of one cluster, and the request is not signed with their key. All "
        "of them need the same file `key` in GRIDIRON_SECRETS_DIR: copy it from the node that was first."
    )


@dataclass(eq=False)
class PeerClockDiffers(Unauthenticated):
    """A node signed a request at a time that is not now."""

    code = "peer_clock_differs"
    sentence = (
        "The clock of {node} is {seconds} s from this node's, and {limit} s is the most. "
        "Have all nodes of the cluster keep their clocks, as with chrony or systemd-timesyncd."
    )
    node: str
    seconds: int
    limit: int


@dataclass(eq=False)
class ScopeMissing(Forbidden):
    """A token is good, but not for this."""

    code = "scope_missing"
    sentence = "The token {name} does not have the scope {scope}. Use one that has, or ask an admin for it."
    name: str
    scope: str


@dataclass(eq=False)
class TakeoverForbidden(Forbidden):
    """A token may not take services over from names that it may not deploy."""

    code = "takeover_forbidden"
    sentence = (
        "The token may not take over these services, as it may not deploy their owners: {owners}. "
        "Use one that may deploy both names, or an admin's."
    )
    owners: str  # `service (build id or uri), …`


@dataclass(eq=False)
class RateExceeded(TooMany):
    """One client sends more requests than a manager answers it."""

    code = "rate_exceeded"
    sentence = "Too many requests of one client. Wait {retry_seconds} s, then ask less often."


@dataclass(eq=False)
class LoginsSlowed(TooMany):
    """One address sends one wrong token after the other."""

    code = "logins_slowed"
    sentence = (
        "Too many wrong tokens from this address. Wait {retry_seconds} s; a right one is taken at once."
    )


@dataclass(eq=False)
class TokenNotFound(NotFound):
    """No token has this id."""

    code = "token_not_found"
    sentence = "There is no token {token_id} (any more). `gridiron token ls` lists those that there are."
    token_id: str


@dataclass(eq=False)
class ScopeInvalid(BadInput):
    """What should be a scope is none."""

    code = "scope_invalid"
    sentence = "{scope!r} is no scope. Give `read`, `admin` or `deploy:PATTERN`, as in `deploy:shop-*`."
    scope: str


@dataclass(eq=False)
class TokenNameInvalid(BadInput):
    """The name of a token breaks the rule."""

    code = "token_name_invalid"
    sentence = "{name!r} is no name of a token: a-z first, then up to 62 of a-z, 0-9 and '-'."
    name: str


@dataclass(eq=False)
class LifetimeInvalid(BadInput):
    """What should say how long a token is good says nothing of the kind."""

    code = "lifetime_invalid"
    sentence = "{lifetime!r} does not say how long a token is good. Give a time: 15m, 12h, 30d."
    lifetime: str


@dataclass(eq=False)
class TokenUnusable(BadInput):
    """The command line was given a token that cannot be read, or is none."""

    code = "token_unusable"
    sentence = "{origin} holds no token ({problem}). It is one line that begins with `gridiron_`."
    origin: str
    problem: str


@dataclass(eq=False)
class TokenNotSent(BadInput):
    """The command line does not send a token to where only a file in the current directory leads it."""

    code = "token_not_sent"
    sentence = (
        "The token is not sent to {url}, which only gridiron.toml names. If you trust it, name it yourself: "
        "--url, or GRIDIRON_MANAGER_URL."
    )
    url: str


@dataclass(eq=False)
class ListenerForeign(BadInput):
    """Somebody else may be waiting for a token at the manager's port."""

    code = "listener_foreign"
    sentence = (
        "A program of the user {user} listens on port {port}, and {path} is not his: the token was not sent. "
        "If you trust what listens there, name it yourself, by --url or GRIDIRON_MANAGER_URL, and give the "
        "token in GRIDIRON_TOKEN_FILE."
    )
    user: int
    port: int
    path: str


@dataclass(eq=False)
class CertificateInvalid(BadInput):
    """A certificate, or its key, cannot be used."""

    code = "certificate_invalid"
    sentence = "The certificate {certificate} with {key} cannot be used: {problem}."
    certificate: str
    key: str
    problem: str


# -- builds ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class BuildNotFound(NotFound):
    """No such build, or one that was pruned."""

    code = "build_not_found"
    sentence = "There is no build {build_id} (any more). `gridiron ls` lists those that there are."
    build_id: str


@dataclass(eq=False)
class SecretNotFound(NotFound):
    """The name has no such secret."""

    code = "secret_not_found"
    sentence = "{name} has no secret {key}. `gridiron secret list {name}` lists those that there are."
    name: str
    key: str


@dataclass(eq=False)
class ActivationInProgress(Conflict):
    """Another activation of the same name is running."""

    code = "activation_in_progress"
    sentence = "An activation of {name} is running already. Try again when it has ended."
    name: str


@dataclass(eq=False)
class BuildInUse(Conflict):
    """The build is active or draining, so that removing it would lose work."""

    code = "build_in_use"
    sentence = "{build_id} is {state}: {reason}. Wait until it is drained, or force its removal."
    build_id: str
    state: str
    reason: str
    invocations: int | None  # None: unknown


@dataclass(eq=False)
class ServiceTaken(Conflict):
    """A Restate service of the build belongs to something else."""

    code = "service_taken"
    sentence = (
        "These services belong to others: {owners}. Rename them, deploy under the owner's name, "
        "or say `takeover` to take them over."
    )
    owners: str  # `service (build id or uri), …`


@dataclass(eq=False)
class BreakingChange(Conflict):
    """The build would break callers of the build before it."""

    code = "breaking_change"
    sentence = (
        "Callers may rely on what would change: {changes}. Keep it as it was, or say `breaking` to change it."
    )
    changes: str


@dataclass(eq=False)
class RegistrationLost(Conflict):
    """Restate has lost a build that cannot be registered again without taking services from newer ones."""

    code = "registration_lost"
    sentence = (
        "Restate has lost {build_id}, and registering it again would take services from newer builds: "
        "{newer}. Nobody serves {services} now: deploy a version that does."
    )
    build_id: str
    services: str
    newer: str


@dataclass(eq=False)
class NothingToRollBackTo(Conflict):
    """No earlier build of the name is kept that differs from the active one."""

    code = "nothing_to_roll_back_to"
    sentence = (
        "No earlier build of {name} is kept that differs from the active one. Deploy the version you want."
    )
    name: str


@dataclass(eq=False)
class DrainUnknown(Unavailable):
    """Whether anything needs the build cannot be said, so it stays."""

    code = "drain_unknown"
    sentence = "What {build_id} still has to do is unknown ({reason}). Nothing was removed; try again."
    build_id: str
    reason: str


@dataclass(eq=False)
class RoutingUnknown(Unavailable):
    """Which builds Restate routes to cannot be said, so that nothing is routed anew."""

    code = "routing_unknown"
    sentence = "Which builds Restate routes to is unknown ({reason}). Nothing was changed; try again."
    reason: str


@dataclass(eq=False)
class SourceUnreachable(Unavailable):
    """The server of a source did not answer, or broke off each time."""

    code = "source_unreachable"
    sentence = "{source} cannot be reached ({reason}), or breaks off. Nothing was stored; try again."
    source: str
    reason: str


# -- components ------------------------------------------------------------------------------------------


@dataclass(eq=False)
class RestateUnavailable(Unavailable):
    """Restate's admin API or ingress cannot be reached."""

    code = "restate_unavailable"
    sentence = "Restate does not answer at {url} ({reason}). Is it running? `gridiron status` tells."
    url: str
    reason: str


@dataclass(eq=False)
class RestateRejected(Rejected):
    """Restate answered, and refused what was asked."""

    code = "restate_rejected"
    sentence = "Restate refused to {action} (HTTP {status}): {reason}"
    action: str
    status: int
    reason: str
    restate_code: str = ""  # Restate's own, such as META0003; empty where it gives none


@dataclass(eq=False)
class InvocationFailed(RestateRejected):
    """An invocation ended with a terminal error: the handler's own, or one of its kind from the SDK."""

    code = "invocation_failed"
    sentence = "The invocation failed ({action}, HTTP {status}): {reason}"


@dataclass(eq=False)
class ClusterRejected(Rejected):
    """Restate's cluster refused a change of its nodes or of what is kept where."""

    code = "cluster_rejected"
    sentence = "Restate's cluster refused to {action}: {reason}. `gridiron cluster status` shows its nodes."
    action: str
    reason: str


@dataclass(eq=False)
class RegistrationUnknown(Unavailable):
    """Restate did not say whether it registered a build, so the build's files stay."""

    code = "registration_unknown"
    sentence = (
        "Restate was asked to register {build_id} and did not answer ({reason}). The build stays: "
        "`gridiron show {build_id}` tells whether it became active; if not, deploy again."
    )
    build_id: str
    reason: str


@dataclass(eq=False)
class WorkersUnavailable(Unavailable):
    """The workers (HAProxy and cells) cannot be reached."""

    code = "workers_unavailable"
    sentence = "The workers do not answer at {url} ({reason}). Are they running? `gridiron status` tells."
    url: str
    reason: str


@dataclass(eq=False)
class RotationPending(Unavailable):
    """The next key is there, and Restate was not started since."""

    code = "rotation_pending"
    sentence = (
        "Restate does not sign with {kid} yet: it was not started again within {seconds} s. Start it again "
        "(`sv restart restate`): it takes the key up, and the one before is refused from then on."
    )
    kid: str
    seconds: int


@dataclass(eq=False)
class ProxyRefused(Rejected):
    """HAProxy answered a command, and refused it."""

    code = "proxy_refused"
    sentence = "HAProxy refused `{command}`: {answer}"
    command: str
    answer: str


@dataclass(eq=False)
class IntakeBusy(Unavailable):
    """As many bundles as a manager takes in at once are coming in, and none of them ended."""

    code = "intake_busy"
    sentence = (
        "{count} bundles are coming in already, and none of them ended within {seconds} s. "
        "Nothing was stored; try again."
    )
    count: int
    seconds: int


@dataclass(eq=False)
class ManagerStopping(Unavailable):
    """The manager is stopping, and takes no bundle in any more."""

    code = "manager_stopping"
    sentence = "The manager is stopping. Nothing was stored; try again when it is back."


@dataclass(eq=False)
class ManagerUnavailable(Unavailable):
    """The manager cannot be reached by a client."""

    code = "manager_unavailable"
    sentence = "The manager does not answer at {url} ({reason}). Start a node with `gridiron up`."
    url: str
    reason: str


# -- the machine -----------------------------------------------------------------------------------------


@dataclass(eq=False)
class ToolMissing(Environment):
    """A program that Gridiron drives is not on this machine."""

    code = "tool_missing"
    sentence = "{tool} is missing (looked in {looked_in}). {mend}"
    tool: str
    looked_in: str
    mend: str


@dataclass(eq=False)
class ToolVersionWrong(Environment):
    """A program is there in a version that this Gridiron was not tested with."""

    code = "tool_version_wrong"
    sentence = "{path} is {tool} {actual}, and {expected} is needed. {mend}"
    tool: str
    path: str
    actual: str
    expected: str
    mend: str


@dataclass(eq=False)
class ToolchainNotInstalled(Environment):
    """npm could not install the programs; nothing of them was kept."""

    code = "toolchain_not_installed"
    sentence = (
        "npm could not install the programs into {path}:\n{output}\n"
        "The network is needed this once. Run the same command again when npm can reach its registry."
    )
    path: str
    output: str


@dataclass(eq=False)
class PortTaken(Environment):
    """Another program listens on a port that the node needs."""

    code = "port_taken"
    sentence = (
        "Port {port} ({purpose}) is taken. Stop what listens there, or give --port-offset or {setting}."
    )
    port: int
    purpose: str
    setting: str


@dataclass(eq=False)
class DirectoryInUse(Environment):
    """Another process holds the lock of the directory."""

    code = "directory_in_use"
    sentence = "{path} is in use by process {pid}. Stop it, or give another directory."
    path: str
    pid: str


@dataclass(eq=False)
class StorageFailed(Environment):
    """A file could not be written, read or removed."""

    code = "storage_failed"
    sentence = "{action} {path} failed: {reason}. Mend the disk or its permissions, then try again."
    action: str
    path: str
    reason: str


@dataclass(eq=False)
class ProjectNotWritten(Environment):
    """A new project could not be written."""

    code = "project_not_written"
    sentence = "The project cannot be written to {path} ({reason}). Give another directory: --dir."
    path: str
    reason: str


@dataclass(eq=False)
class BundlesElsewhere(Environment):
    """The bundle directory is not the one that the manager's state belongs to."""

    code = "bundles_elsewhere"
    sentence = (
        "{path} is not the bundle directory that this manager had before: is its disk mounted? "
        "To go on with the directory as it is, remove state.json from the manager's state directory."
    )
    path: str


@dataclass(eq=False)
class SecretsUnreadable(Environment):
    """What is kept of secrets does not open: the node's key is gone or another, or the file was changed."""

    code = "secrets_unreadable"
    sentence = (
        "The secrets of {owner} cannot be read: {reason}. Restore the node's secrets directory with its key "
        "as they were; where they are lost, docs/secrets.md says how to begin anew."
    )
    owner: str
    reason: str


@dataclass(eq=False)
class SecretKeyInvalid(Environment):
    """The file with the node's key must not be used as it is."""

    code = "secret_key_invalid"
    sentence = "{path} cannot be the key of this node's secrets: {problem}."
    path: str
    problem: str


@dataclass(eq=False)
class TokensUnreadable(Environment):
    """The file that says which tokens are good is damaged."""

    code = "tokens_unreadable"
    sentence = (
        "{path} is damaged. Restore it; or remove it, which revokes every token and makes a new admin's."
    )
    path: str


@dataclass(eq=False)
class AuditUnavailable(Environment):
    """The audit log cannot be written or read. What cannot be written down is not done."""

    code = "audit_unavailable"
    sentence = (
        "{action} the audit log {path} failed: {reason}. Nothing was changed: "
        "mend the disk or its permissions, then try again."
    )
    action: str
    path: str
    reason: str


@dataclass(eq=False)
class ComponentFailed(Environment):
    """A component of the node did not start to serve in time."""

    code = "component_failed"
    sentence = "{component} did not start: {reason}."
    component: str
    reason: str


@dataclass(eq=False)
class ConfigNotApplied(Environment):
    """The supervisor of the workers could not be told that their configuration changed."""

    code = "config_not_applied"
    sentence = (
        "`sv hup {service}` failed ({reason}). The manager tries again; check GRIDIRON_WORKERS_SERVICE."
    )
    service: str
    reason: str


# -- backup ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class BackupOfCluster(BadInput):
    """A node of a cluster was to be backed up, or to be what it was once."""

    code = "backup_of_cluster"
    sentence = (
        "{node} is a node of the cluster {cluster}: the others count on what is on its disk now, and would "
        "lose it with an earlier one. Have the bucket keep versions of its objects, and put a new node in "
        "the place of one whose disk is lost (docs/cluster.md)."
    )
    node: str
    cluster: str


@dataclass(eq=False)
class BackupFailed(Unavailable):
    """A backup could not be made now."""

    code = "backup_failed"
    sentence = "No backup was made: {reason}."
    reason: str


@dataclass(eq=False)
class BackupUnderWay(Conflict):
    """Another process makes a backup of the node, or restores one."""

    code = "backup_under_way"
    sentence = "Another backup or restore of {path} is under way. Try again when it has ended."
    path: str


@dataclass(eq=False)
class BackupExists(BadInput):
    """There is something where a backup was to be written."""

    code = "backup_exists"
    sentence = "There is {path} already, and a backup overwrites nothing. Give another name."
    path: str


@dataclass(eq=False)
class BackupInvalid(BadInput):
    """A file is no backup, or a damaged one."""

    code = "backup_invalid"
    sentence = "{path} cannot be restored: {problem}. Nothing was; take another backup."
    path: str
    problem: str


@dataclass(eq=False)
class BackupMismatch(BadInput):
    """A node with these settings, on this machine, could not go on from the backup."""

    code = "backup_mismatch"
    sentence = "The backup has {what} {theirs}, and here it is {ours}. {mend} Nothing was restored."
    what: str
    theirs: str
    ours: str
    mend: str


@dataclass(eq=False)
class DataNotEmpty(BadInput):
    """A backup was to be restored where there is something already."""

    code = "data_not_empty"
    sentence = (
        "{path} is not empty ({found}), and nothing was restored. Give another --data-dir, or empty it."
    )
    path: str
    found: str


@dataclass(eq=False)
class RestoreUnfinished(Environment):
    """A restore was killed before its end, so that what there is of the node is no node."""

    code = "restore_unfinished"
    sentence = (
        "A restore did not come to its end: there is {path}. Empty the data directory, and restore again."
    )
    path: str


# -- the nodes of a cluster ------------------------------------------------------------------------------


@dataclass(eq=False)
class NodeAlone(NotFound):
    """What was asked for only a cluster has."""

    code = "node_alone"
    sentence = (
        "This node is alone, and in no cluster. Give it a table [cluster] in gridiron.toml, "
        "then `gridiron cluster grow` makes it the first node of one; docs/cluster.md has each step."
    )


@dataclass(eq=False)
class GrowRefused(BadInput):
    """A node that is alone cannot become the first of a cluster as things are."""

    code = "grow_refused"
    sentence = "This node was left as it is, and alone: {problem}. {mend}"
    problem: str
    mend: str


@dataclass(eq=False)
class ClusterNotGrown(Environment):
    """A node with builds of its own was started with a cluster's table, and the cluster has none of them."""

    code = "cluster_not_grown"
    sentence = (
        "{path} has builds, and the bucket {bucket} belongs to no cluster yet. If this node was alone until "
        "now, run `gridiron cluster grow` here first; otherwise bring back what was in the bucket."
    )
    path: str
    bucket: str


@dataclass(eq=False)
class ClusterTableMissing(Environment):
    """A node of a cluster was to run by settings that have no table `[cluster]`."""

    code = "cluster_table_missing"
    sentence = (
        "This is a node of the cluster {cluster} with the bucket {bucket}, as {path} says, and its settings "
        "have no table [cluster]. Start it with its configuration (GRIDIRON_CONFIG), or, if it is to be "
        "alone from now on, with an empty data_dir."
    )
    path: str
    cluster: str
    bucket: str


@dataclass(eq=False)
class NodeNotFound(NotFound):
    """The cluster has no node of this name."""

    code = "node_not_found"
    sentence = "The cluster has no node {node}. `gridiron cluster status` shows those that it has."
    node: str


@dataclass(eq=False)
class NodeNeeded(Conflict):
    """The cluster could not go on without this node."""

    code = "node_needed"
    sentence = "{node} was not {action}: {reason}. {mend}"
    node: str
    action: str
    reason: str
    mend: str


@dataclass(eq=False)
class NodeRunning(Conflict):
    """A node that runs is not removed: it would go on, and be refused everywhere."""

    code = "node_running"
    sentence = "{node} is running, and was not removed. Drain it, stop it, and remove it then."
    node: str


# -- the bucket of a cluster -----------------------------------------------------------------------------


@dataclass(eq=False)
class BucketUnavailable(Unavailable):
    """The bucket that a cluster shares did not answer, or broke off each time."""

    code = "bucket_unavailable"
    sentence = (
        "The cluster's bucket {bucket} cannot be reached ({reason}). What runs goes on; "
        "try again when it can be reached."
    )
    bucket: str  # the URL, with the prefix
    reason: str


@dataclass(eq=False)
class BucketRefused(Rejected):
    """The bucket answered, and gives this node no access; or what leads to it cannot be used."""

    code = "bucket_refused"
    sentence = "The cluster's bucket {bucket} cannot be used: {reason}. {mend}"
    bucket: str
    reason: str
    mend: str


@dataclass(eq=False)
class ObjectMissing(NotFound):
    """There is no such object in the bucket."""

    code = "object_missing"
    sentence = "There is no {key} in the cluster's bucket {bucket} (any more)."
    bucket: str
    key: str


@dataclass(eq=False)
class ObjectExists(Conflict):
    """An object that is made once was to be made, and is there."""

    code = "object_exists"
    sentence = "There is {key} in the cluster's bucket {bucket} already; it was left as it is."
    bucket: str
    key: str


@dataclass(eq=False)
class ObjectChanged(Conflict):
    """An object is another than the one that was to be replaced, or is gone."""

    code = "object_changed"
    sentence = "Somebody else changed {key} in the cluster's bucket {bucket} meanwhile; it was left so."
    bucket: str
    key: str


@dataclass(eq=False)
class ObjectDamaged(Environment):
    """An object in the bucket is not what was put there."""

    code = "object_damaged"
    sentence = (
        "{key} in the cluster's bucket {bucket} is damaged: {problem}. "
        "Restore it from a version that the bucket keeps, or from a node that has it."
    )
    bucket: str
    key: str
    problem: str


@dataclass(eq=False)
class ClusterKeyDiffers(Environment):
    """The node has not the key that the cluster's secrets are sealed with."""

    code = "cluster_key_differs"
    sentence = (
        "{path} is not the key of the cluster {cluster}: {problem}. "
        "Copy that file from a node of the cluster, by a way that nobody else can read."
    )
    path: str
    cluster: str
    problem: str


@dataclass(eq=False)
class LeaseTaken(Unavailable):
    """Another node does what may be done by one at a time."""

    code = "lease_taken"
    sentence = "The node {node} works on {key}, and did not end within {seconds} s. Try again later."
    key: str
    node: str
    seconds: int


@dataclass(eq=False)
class LeaseLost(Unavailable):
    """Another node may work on the same by now, so that this one has stopped."""

    code = "lease_lost"
    sentence = "This node may not be alone any more in working on {key}: {reason}. It stopped; try again."
    key: str
    reason: str


# -- activation ------------------------------------------------------------------------------------------


@dataclass(eq=False)
class ActivationFailed(GridironError):
    """The step of an activation that failed. Its `code` is the cause's, its cause says why."""

    code = "activation_failed"
    sentence = "Step {step!r} failed, and nothing was changed: {cause}"
    step: str
    build_id: str | None  # None: it failed before it was the build's turn
    cause: GridironError
