# SPDX-License-Identifier: MIT
"""Prometheus metrics: what every service measures, and the registry of the process."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from starlette.responses import Response

from . import __version__

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter that nobody queries
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)

REQUESTS = Counter("http_requests_total", "HTTP requests answered.", ("method", "route", "status"))
DURATION = Histogram(
    "http_request_duration_seconds", "Time to answer an HTTP request.", ("method", "route"), buckets=BUCKETS
)
IN_PROGRESS = Gauge("http_requests_in_progress", "HTTP requests being answered now.")
DEPENDENCY_UP = Gauge("twisterlab_dependency_up", "1 when the last use of the dependency worked.", ("dependency",))
BUILD = Gauge("twisterlab_build_info", "Version of the running program; always 1.", ("component", "version"))


def announce(component: str) -> None:
    """Publish which program this is."""
    BUILD.labels(component, __version__).set(1)


def exposition() -> Response:
    """Return the text that Prometheus scrapes."""
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
