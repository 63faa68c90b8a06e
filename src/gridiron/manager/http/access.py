"""The routes over tokens and the audit log."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import FastAPI, Path, Query, Response

from gridiron.access.audit import AuditLog
from gridiron.access.scopes import parse_scope
from gridiron.access.tokens import ID_PATTERN, Token, find_id, parse_lifetime
from gridiron.manager.api import AuditPage, CreateTokenRequest, TokenCreated, TokenList, TokenView
from gridiron.manager.http.guard import Acting, Guard
from gridiron.manager.http.problems import describe_problems


def add_tokens(app: FastAPI, guard: Guard) -> None:
    """Serve what makes, lists and revokes tokens."""

    def show(token: Token) -> TokenView:
        fields = token.model_dump(exclude={"sha256"})
        return TokenView(**fields, expired=token.expires_at is not None and token.expires_at <= guard.now())

    @app.post(
        "/tokens", status_code=201, summary="Make a token; it is shown once", responses=describe_problems(422)
    )
    async def create_token(request: CreateTokenRequest, response: Response, act: Acting) -> TokenCreated:
        scopes = [parse_scope(text) for text in request.scopes]
        lifetime = None if request.expires is None else parse_lifetime(request.expires)
        given = {"name": request.name, "scopes": " ".join(request.scopes), "expires": request.expires}
        async with act.change(**given) as about:
            made = await asyncio.to_thread(guard.tokens.create, request.name, scopes, lifetime, guard.now())
            about["token_id"] = made.token.id
        response.headers["cache-control"] = "no-store"
        return TokenCreated(token=show(made.token), text=made.text)

    @app.get("/tokens", summary="List tokens")
    async def list_tokens() -> TokenList:
        return TokenList(tokens=tuple(show(token) for token in guard.tokens.tokens))

    @app.delete("/tokens/{token_id}", summary="Revoke a token", responses=describe_problems(404, 422))
    async def revoke_token(
        token_id: Annotated[str, Path(pattern=ID_PATTERN, description="Its id, or all of it.")], act: Acting
    ) -> TokenView:
        found = find_id(token_id) or token_id
        async with act.change(token_id=found):
            return show(await asyncio.to_thread(guard.tokens.revoke, found))


def add_audit(app: FastAPI, audit: AuditLog) -> None:
    """Serve the audit log."""

    @app.get("/audit", summary="Read the audit log", responses=describe_problems(422))
    async def show_audit(
        cursor: Annotated[
            str | None, Query(pattern="^[0-9]{1,15}$", description="`next` of the page before.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Entries on a page.")] = 100,
    ) -> AuditPage:
        before = None if cursor is None else int(cursor)
        entries, place = await asyncio.to_thread(audit.fetch_page, before, limit)
        return AuditPage(entries=entries, next=None if place is None else str(place))
