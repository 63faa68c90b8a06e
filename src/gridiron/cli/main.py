"""The command line: its verbs, each in a module of its own, and nothing else.

What a verb needs beyond its options it imports when it runs, so that `gridiron version`, `--help` and the
shell's completion answer at once.
"""

from __future__ import annotations

import typer

from gridiron.cli import (
    backup,
    builds,
    call,
    cluster,
    demo_verb,
    deploy,
    dev_verb,
    digest,
    doctor_verb,
    identity,
    init,
    keys,
    logs,
    prune,
    roles,
    rollback,
    secret,
    status,
    token,
    versions,
)
from gridiron.cli.edge import Edge
from gridiron.cli.options import ROLES_PANEL

app = typer.Typer(
    name="gridiron",
    cls=Edge,
    help="A self-hosted compute mesh with hot code deployment.",
    epilog="Begin with `gridiron up` in one terminal and `gridiron deploy DIR` in another, "
    "or see it all at once: `gridiron demo`.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(roles.up)
app.command()(demo_verb.demo)
app.command(epilog=init.EPILOG)(init.init)
app.command(epilog=deploy.EPILOG)(deploy.deploy)
app.command(epilog=dev_verb.EPILOG)(dev_verb.dev)
app.command()(builds.ls)
app.command()(builds.show)
app.command()(builds.release)
app.command(epilog=rollback.EPILOG)(rollback.rollback)
app.command(epilog=prune.EPILOG)(prune.prune)
app.add_typer(secret.app, name="secret")
app.add_typer(token.app, name="token")
app.command()(token.audit)
app.command(epilog=call.EPILOG, context_settings=call.CONTEXT_SETTINGS)(call.call)
app.command(epilog=digest.EPILOG)(digest.digest)
app.add_typer(cluster.app, name="cluster")
app.add_typer(keys.app, name="keys")
app.add_typer(identity.app, name="identity")
app.command(epilog=logs.EPILOG)(logs.logs)
app.command()(status.status)
app.command()(doctor_verb.doctor)
app.command(epilog=backup.EPILOG)(backup.backup)
app.command(epilog=backup.RESTORE_EPILOG)(backup.restore)
app.command()(versions.version)
app.command(rich_help_panel=ROLES_PANEL)(roles.restate)
workers = typer.Typer(invoke_without_command=True)
workers.callback()(roles.workers)
workers.command("restart")(roles.restart_workers)
app.add_typer(workers, name="workers", rich_help_panel=ROLES_PANEL)
app.command(rich_help_panel=ROLES_PANEL)(roles.manager)
