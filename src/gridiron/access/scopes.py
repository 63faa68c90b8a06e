"""What a token lets its holder do. Pure.

read              see everything that the manager shows but tokens and the audit log; every scope has it
deploy:PATTERN    change builds and secrets of the names that match, where `*` stands for any text
admin             everything
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from gridiron.errors import ScopeInvalid, ScopeMissing

PATTERN = re.compile(r"[a-z*][a-z0-9*-]{0,62}")
"""A name (`gridiron.model.NAME`) in which `*` may stand: nothing else in it means something to fnmatch."""

ALL_NAMES = "*"


class Kind(StrEnum):
    """The kinds of scopes."""

    READ = "read"
    DEPLOY = "deploy"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing that a token is good for; `str()` gives the text that `parse_scope` reads."""

    kind: Kind
    pattern: str | None = None  # of the names, for `deploy` only

    def __str__(self) -> str:
        return self.kind if self.pattern is None else f"{self.kind}:{self.pattern}"


def parse_scope(text: str) -> Scope:
    """Read a scope. Raises ScopeInvalid."""
    kind, colon, pattern = text.partition(":")
    if not colon and kind in {Kind.READ, Kind.ADMIN}:
        return Scope(Kind(kind))
    if kind == Kind.DEPLOY and PATTERN.fullmatch(pattern):
        return Scope(Kind.DEPLOY, pattern)
    raise ScopeInvalid(text)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what for he is good."""

    token_id: str | None  # None: nobody's token, see GRIDIRON_OPEN_LOOPBACK
    name: str
    scopes: tuple[Scope, ...]

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return any(scope.kind is Kind.ADMIN for scope in self.scopes)

    @property
    def may_deploy_some(self) -> bool:
        """Whether there can be a name that is his to change."""
        return self.is_admin or any(scope.kind is Kind.DEPLOY for scope in self.scopes)

    def may_deploy(self, name: str | None) -> bool:
        """Tell whether a name is his to change; None: of what nobody knows whose it is."""
        if self.is_admin:
            return True
        patterns = [scope.pattern for scope in self.scopes if scope.pattern is not None]
        return name is not None and any(fnmatchcase(name, pattern) for pattern in patterns)

    def check_deploy(self, name: str | None) -> None:
        """Raise ScopeMissing unless a name is his to change."""
        if not self.may_deploy(name):
            raise ScopeMissing(self.name, "admin" if name is None else f"deploy:{name}")

    def check_deploy_all(self) -> None:
        """Raise ScopeMissing unless every name is his to change."""
        if not self.is_admin and Scope(Kind.DEPLOY, ALL_NAMES) not in self.scopes:
            raise ScopeMissing(self.name, f"deploy:{ALL_NAMES}")
