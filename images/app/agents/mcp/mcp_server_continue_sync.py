# SPDX-License-Identifier: MIT
"""The stdio MCP server under the path that client files name; the work is done in twisterlab_app.mcp_stdio."""

from __future__ import annotations

import sys

from twisterlab_app.mcp_stdio import main

if __name__ == "__main__":
    sys.exit(main())
