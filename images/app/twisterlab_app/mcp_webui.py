# SPDX-License-Identifier: MIT
"""The tool that registers TwisterLab's toolkit in an Open WebUI."""

from __future__ import annotations

from importlib import resources

from pydantic import BaseModel, Field

from .mcp_api_tools import understood
from .mcp_settings import McpSettings
from .mcp_tools import Arguments, Tool, ToolFailure
from .peers import PeerClient
from .settings import Peer

PATH = "/api/v1/tools/create"
_API_LINE = 'API_URL = "http://twisterlab-api:8000"'


class WebuiArguments(Arguments):
    """The Open WebUI, the id of the new tool there and the description that its users see."""

    target_url: str = Field(min_length=1, max_length=2000)
    tool_name: str = Field(default="twisterlab", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    description: str = Field(default="Tickets and agents of TwisterLab", min_length=1, max_length=1000)


class RegisteredTool(BaseModel):
    """What Open WebUI stored."""

    id: str
    name: str
    created_at: int


def toolkit(api_url: str) -> str:
    """Return the source of the toolkit that Open WebUI shall load, for one API."""
    source = resources.files(__package__).joinpath("webui_toolkit.py").read_text(encoding="utf-8")
    source = source.partition("\n")[2]  # Open WebUI reads title and version only when the docstring comes first
    before, found, after = source.partition(_API_LINE)
    if not found:
        raise RuntimeError(f"webui_toolkit.py lacks the line {_API_LINE}")
    return f"{before}API_URL = {api_url!r}{after}"


def webui_tool(client: PeerClient, settings: McpSettings, api_url: str) -> Tool:
    """Return the tool; only the addresses in WEBUI_URLS are ever contacted."""

    async def run(arguments: WebuiArguments) -> RegisteredTool:
        url = arguments.target_url.rstrip("/")
        if url not in settings.webui_urls:
            known = ", ".join(sorted(settings.webui_urls)) or "none"
            raise ToolFailure(f"target_url is not one of WEBUI_URLS, which permits: {known}", "refused")
        if not settings.webui_api_key:
            raise ToolFailure("WEBUI_API_KEY is not set: write an API key of that Open WebUI", "refused")
        body = {
            "id": arguments.tool_name,
            "name": arguments.tool_name,
            "content": toolkit(api_url),
            "meta": {"description": arguments.description, "manifest": {}},
        }
        peer, authorization = Peer("Open WebUI", url), f"Bearer {settings.webui_api_key}"
        answer = understood(await client.call(peer, "POST", PATH, body, authorization=authorization), RegisteredTool)
        if answer.id != arguments.tool_name:
            raise ToolFailure(f"Open WebUI stored another tool, {answer.id[:64]!r}")
        return answer

    return Tool(
        "configure_webui_tool",
        "Register TwisterLab's tools in one of the Open WebUI installations that the configuration permits.",
        WebuiArguments,
        RegisteredTool,
        run,
    )
