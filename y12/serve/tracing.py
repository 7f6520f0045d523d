"""OpenTelemetry, where the environment asks for it: a span for each request, with the trace that its client began."""

import os
from importlib.metadata import entry_points
from importlib.util import find_spec

from starlette.types import ASGIApp

from y12.runtime.cli.common import say

__all__ = ["traced"]

_ASKED_BY = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_QUIET = "/v2/health/.*,/v2/models/.*/ready,/metrics"  # asked for every few seconds
NEEDED = ("opentelemetry-sdk", "opentelemetry-instrumentation-asgi", "opentelemetry-exporter-otlp-proto-http")


def traced(app: ASGIApp) -> ASGIApp:
    """Return the addresses with a span for each request; the app itself where nothing asks for one.

    What the variables mean is OpenTelemetry's: OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME ….
    """
    if not any(os.environ.get(name) for name in _ASKED_BY) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return app
    wanted = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if wanted == "none":
        return app
    exporters = entry_points(group="opentelemetry_traces_exporter", name=wanted)
    if (
        not exporters
        or find_spec("opentelemetry.sdk") is None
        or find_spec("opentelemetry.instrumentation.asgi") is None
    ):
        say(f"note: traces are asked for, but nothing sends them: pip install {' '.join(NEEDED)}")
        return app
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.util.http import parse_excluded_urls

    os.environ.setdefault("OTEL_SERVICE_NAME", "y12-serve")
    provider = TracerProvider()  # its end sends what is left
    provider.add_span_processor(BatchSpanProcessor(next(iter(exporters)).load()()))
    quiet = parse_excluded_urls(_QUIET)
    return OpenTelemetryMiddleware(
        app, excluded_urls=quiet, tracer_provider=provider, exclude_spans=["receive", "send"]
    )
