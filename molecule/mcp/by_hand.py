# SPDX-License-Identifier: GPL-3.0-or-later
"""Feeds the command of Continue's file by hand: `by_hand.py FILE TEXT [kill COMMAND...]`. Independent of our own verifier.

Prints one JSON object: what came back by id, what stood on stdout beside JSON-RPC, the seconds to the list of tools, how the program ended.
With `kill` it goes on classifying tickets while COMMAND, which kills the pod, runs, and prints the numbers of the tickets that were acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "by hand", "version": "1"}}
CALLS_UNTIL_KILL = 400


def request(number: int, method: str, params: dict[str, Any]) -> str:
    """One line."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n"


def main() -> None:
    """Start what the file says and talk to it."""
    (entry,) = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))["mcpServers"]
    text, kill = sys.argv[2], sys.argv[4:]
    begun = time.monotonic()
    program = subprocess.Popen(
        [entry["command"], *entry["args"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if not program.stdin or not program.stdout:
        raise SystemExit("the program has no pipes")
    answers: dict[int, Any] = {}
    impure: list[str] = []
    seconds: dict[int, float] = {}

    def read() -> None:
        for line in program.stdout or ():
            try:
                message = json.loads(line)
            except ValueError:
                impure.append(line)
                continue
            answers[message["id"]] = message
            seconds[message["id"]] = round(time.monotonic() - begun, 2)

    reader = threading.Thread(target=read)
    reader.start()
    call = {"name": "classify_ticket", "arguments": {"ticket_text": text}}
    program.stdin.write(request(1, "initialize", INITIALIZE))
    program.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    program.stdin.write(request(2, "tools/list", {}))
    program.stdin.write(request(3, "tools/call", call))
    program.stdin.flush()
    if kill:
        while 3 not in answers and reader.is_alive():
            time.sleep(0.05)
        killer = subprocess.Popen(kill, stdout=subprocess.DEVNULL)
        with contextlib.suppress(BrokenPipeError):
            for number in range(4, CALLS_UNTIL_KILL):
                program.stdin.write(request(number, "tools/call", call))
                program.stdin.flush()
                time.sleep(0.02)
        killer.wait(timeout=60)
    with contextlib.suppress(BrokenPipeError):
        program.stdin.close()
    code = program.wait(timeout=90)
    reader.join(timeout=30)
    results = {number: answer.get("result", {}) for number, answer in answers.items()}
    tickets = [
        result["structuredContent"]["ticket"]["id"]
        for number, result in results.items()
        if number > 2 and not result.get("isError") and result.get("structuredContent")
    ]
    print(
        json.dumps(
            {
                "server": results.get(1, {}).get("serverInfo"),
                "tools": [tool["name"] for tool in results.get(2, {}).get("tools", [])],
                "seconds_to_tools": seconds.get(2),
                "call": results.get(3),
                "tickets": tickets,
                "impure": impure,
                "code": code,
            }
        )
    )


main()
