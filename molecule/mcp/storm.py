# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a pod, with the SDK of its image: 50 clients have all tiers checked at once, round after round; no call may be lost.

`storm.py URL`, the token in MCP_TOKEN. Each call goes through the orchestrator to the monitoring agent, which uses the API, and counts as lost unless
every tier was found well. Goes on until the file /tmp/calm is there, three minutes at most. Prints the number of calls and every loss; ends with 1
when there was one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

CLIENTS = 50
CALM = Path("/tmp/calm")  # noqa: S108 - in a pod of its own
ARGUMENTS = {"agent": "mcp-monitoring", "path": "/api/v1/checks"}


def trouble(answer: dict[str, Any]) -> str:
    """What a routed answer says is wrong; empty when every tier works."""
    body = answer.get("body")
    checks = body.get("checks") if isinstance(body, dict) else None
    if answer.get("status") != 200 or not checks or "api" not in {check["name"] for check in checks}:
        return f"no verdict on the API: {answer}"
    return "; ".join(f"{check['name']}: {check['reason']}" for check in checks if check["verdict"] != "ok")


async def caller(url: str, until: float, lost: list[str]) -> int:
    """Call until all is calm, then say how often."""
    headers = {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"}
    calls = 0
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        while time.monotonic() < until and not CALM.exists():
            calls += 1
            try:
                result = await client.call_tool("route_request", dict(ARGUMENTS))
            except Exception as error:
                lost.append(f"{type(error).__name__}: {error}"[:300])
                continue
            wrong = str(result.content[0].text) if result.is_error else trouble(result.structured_content or {})
            if wrong:
                lost.append(wrong[:300])
            await asyncio.sleep(0.5)
    return calls


async def main() -> int:
    """Run the clients together."""
    lost: list[str] = []
    until = time.monotonic() + 180
    calls = await asyncio.gather(*(caller(sys.argv[1], until, lost) for _ in range(CLIENTS)))
    print(f"clients {CLIENTS} calls {sum(calls)} lost {len(lost)}", *sorted(set(lost)), sep="\n")
    return 1 if lost or sum(calls) < CLIENTS else 0


sys.exit(asyncio.run(main()))
