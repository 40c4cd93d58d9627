# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a pod, with the SDK of its image: 50 clients call a tool at once, round after round, for SECONDS; none may be lost.

`storm.py URL TOOL ARGUMENTS SECONDS`, the token in MCP_TOKEN. Prints the number of calls and every loss; ends with 1 when there was one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

CLIENTS = 50


async def caller(url: str, tool: str, arguments: dict[str, object], until: float, lost: list[str]) -> int:
    """Call until the time is up, then say how often."""
    headers = {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"}
    calls = 0
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        while time.monotonic() < until:
            calls += 1
            try:
                result = await client.call_tool(tool, arguments)
            except Exception as error:
                lost.append(f"{type(error).__name__}: {error}"[:300])
                continue
            answer = result.structured_content or {}
            if result.is_error or answer.get("status") != 200:
                lost.append(str(result.content[0].text if result.content else answer)[:300])
            await asyncio.sleep(0.5)
    return calls


async def main() -> int:
    """Run the clients together."""
    url, tool, arguments, seconds = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), float(sys.argv[4])
    lost: list[str] = []
    until = time.monotonic() + seconds
    calls = await asyncio.gather(*(caller(url, tool, arguments, until, lost) for _ in range(CLIENTS)))
    print(f"clients {CLIENTS} calls {sum(calls)} lost {len(lost)}", *sorted(set(lost)), sep="\n")
    return 1 if lost or sum(calls) < CLIENTS else 0


sys.exit(asyncio.run(main()))
