# SPDX-License-Identifier: GPL-3.0-or-later
"""The official SDK's own client against one of our HTTP servers: `stock_client.py URL`, the token in TWISTERLAB_MCP_TOKEN."""

from __future__ import annotations

import asyncio
import os
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main(url: str) -> None:
    """Connect in both eras, list the tools, call one; print what came back."""
    headers = {"Authorization": f"Bearer {os.environ['TWISTERLAB_MCP_TOKEN']}"}
    for mode in ("auto", "legacy"):
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            tools = sorted(tool.name for tool in (await client.list_tools()).tools)
            result = await client.call_tool("list_agents", {})
            names = [item["name"] for item in (result.structured_content or {}).get("items", [])]
            print(mode, "tools", ",".join(tools), "error", result.is_error, "agents", ",".join(names))


asyncio.run(main(sys.argv[1]))
