"""/metrics, for Prometheus."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from reroll.web.server import Route


def metrics_routes(registry: CollectorRegistry) -> tuple[Route, ...]:
    """What the registry holds, in the format that the request asks for."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    return (Route("/metrics", metrics, "for Prometheus"),)
