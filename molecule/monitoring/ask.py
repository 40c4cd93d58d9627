# SPDX-License-Identifier: GPL-3.0-or-later
"""Run inside the cluster: asks Prometheus and the test's receiver, and ends with 0 when all is as it should be.

Arguments: what to check, and its JSON.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
import urllib.request
from typing import Any

PROMETHEUS = "http://prometheus:9090/api/v1"


def get(url: str) -> Any:
    """The JSON at an address."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - addresses of the cluster
        return json.loads(answer.read())


def targets(wanted: dict[str, int]) -> list[str]:
    """Every target is up, and every job has at least as many as wanted."""
    active = get(f"{PROMETHEUS}/targets?state=active")["data"]["activeTargets"]
    jobs = [target["labels"]["job"] for target in active]
    wrong = [f"{target['labels']['job']}: {target['lastError']}" for target in active if target["health"] != "up"]
    return wrong + [f"{job}: {jobs.count(job)} targets" for job, least in wanted.items() if jobs.count(job) < least]


def config(wanted: str) -> list[str]:
    """The running configuration holds a text."""
    return [] if wanted in get(f"{PROMETHEUS}/status/config")["data"]["yaml"] else [f"there is no {wanted!r} in it yet"]


def series(wanted: str) -> list[str]:
    """An expression has at least one series."""
    query = urllib.parse.urlencode({"query": wanted})
    return [] if get(f"{PROMETHEUS}/query?{query}")["data"]["result"] else [f"{wanted} has no series yet"]


def received(wanted: list[str]) -> list[str]:
    """An alert arrived at the receiver in that state."""
    name, state = wanted
    got = get("http://test-receiver:8090/")
    there = [alert for body in got for alert in body["alerts"] if alert["labels"]["alertname"] == name]
    return [] if any(alert["status"] == state for alert in there) else [f"{name} did not arrive as {state}"]


if __name__ == "__main__":
    checks = {"targets": targets, "config": config, "series": series, "received": received}
    problems = checks[sys.argv[1]](json.loads(sys.argv[2]))
    print("\n".join(problems) or "as it should be")
    sys.exit(bool(problems))
