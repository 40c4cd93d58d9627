# SPDX-License-Identifier: GPL-3.0-or-later
"""The official SDK's own client against one of our HTTP servers, the token in TWISTERLAB_MCP_TOKEN: `stock_client.py URL [ADDRESS AUTHORITY]`.

With ADDRESS the URL's name leads there, as `curl --resolve` has it, and AUTHORITY (a file) signs for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


def lead(address: str) -> None:
    """Have every name lead to one address."""
    ask = socket.getaddrinfo

    def answer(_host: Any, *arguments: Any, **more: Any) -> Any:
        return ask(address, *arguments, **more)

    socket.getaddrinfo = answer  # type: ignore[assignment]


async def main(url: str, address: str = "", authority: str = "") -> None:
    """Connect in both eras, list the tools, call one; print what came back."""
    trust: Any = ssl.create_default_context(cafile=authority) if authority else True
    if address:
        lead(address)
    headers = {"Authorization": f"Bearer {os.environ['TWISTERLAB_MCP_TOKEN']}"}
    for mode in ("auto", "legacy"):
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False, verify=trust) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            tools = sorted(tool.name for tool in (await client.list_tools()).tools)
            result = await client.call_tool("list_agents", {})
            names = [item["name"] for item in (result.structured_content or {}).get("items", [])]
            print(mode, "tools", ",".join(tools), "error", result.is_error, "agents", ",".join(names))


asyncio.run(main(*sys.argv[1:]))
