"""The API's description (OpenAPI), which tells how to log in."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from gridiron.manager.api import Problem

BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "gridiron_{id}_{secret}",
    "description": "A token. Each has scopes: `read`, `deploy:PATTERN`, `admin`.",
}


def add_description(app: FastAPI) -> None:
    """Serve the description of an app at `/openapi.json`."""
    describe = app.openapi

    def describe_with_login() -> dict[str, Any]:
        described = describe()  # made once, by the first who asks
        components = described["components"]
        components["schemas"]["Problem"] = Problem.model_json_schema(mode="serialization")
        components.setdefault("securitySchemes", {})["bearer"] = BEARER
        return described

    app.openapi = describe_with_login  # type: ignore[method-assign]  # the way that FastAPI documents

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())
