"""The page's addresses: `/`, and its files below `/page/`."""

import json

from fastapi import APIRouter, HTTPException
from starlette.responses import Response

from y12.serve.page.contents import FACTS, INDEX, model_facts, page_files
from y12.serve.service import Service

__all__ = ["page_router"]

# Stricter than what the page says of itself, which also holds where a browser runs the model.
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' blob:; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-cache",
}
_TYPES = {  # a module is run by its type only
    ".css": "text/css",
    ".html": "text/html",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
}


def page_router(service: Service) -> APIRouter:
    """Return what answers with the page of a service's model; its files are read once."""
    facts = model_facts(service.name, service.manifest, service.own_options, runs="server")
    files = page_files() | {FACTS: json.dumps(facts).encode()}
    router = APIRouter()

    @router.get("/")
    async def index() -> Response:
        """Return the page to try the model."""
        return _answer(INDEX)

    @router.get("/page/{name}")
    async def part(name: str) -> Response:
        """Return one of the page's files."""
        if f"page/{name}" not in files:
            raise HTTPException(404)
        return _answer(f"page/{name}")

    def _answer(path: str) -> Response:
        suffix = f".{path.rpartition('.')[2]}"
        return Response(files[path], headers=_HEADERS, media_type=_TYPES[suffix])

    return router
