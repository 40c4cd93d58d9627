# SPDX-License-Identifier: MIT
"""
title: TwisterLab
description: Tickets and agents of TwisterLab
version: 2.1.0
license: MIT
"""

import json
import urllib.error
import urllib.request

API_URL = "http://twisterlab-api:8000"


def _ask(method, path, body=None):
    request = urllib.request.Request(API_URL + path, method=method)  # noqa: S310  the address is configured
    request.add_header("Content-Type", "application/json")
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=15) as answer:  # noqa: S310
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"failed: the API answered {error.code}: {error.read().decode()[:500]}"
    except OSError as error:
        return f"failed: the API does not answer: {error}"


class Tools:
    """What Open WebUI offers to its models."""

    def classify_ticket(self, ticket_text: str) -> str:
        """
        Classify the text of a support ticket and store it as a new ticket.
        :param ticket_text: what the person wrote
        """
        return _ask("POST", "/api/v1/tickets/classify", {"text": ticket_text})

    def list_agents(self) -> str:
        """
        List the agents registered with TwisterLab.
        """
        return _ask("GET", "/api/v1/agents")
