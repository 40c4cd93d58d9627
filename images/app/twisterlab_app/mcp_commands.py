# SPDX-License-Identifier: MIT
"""The tool that runs a command: only those that MCP_COMMANDS lists, only here, without a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import time

import anyio
from pydantic import BaseModel, Field

from .errors import reason_of
from .mcp_tools import Arguments, Tool, ToolFailure

MAX_SECONDS = 60
MAX_STREAM_BYTES = 64 * 1024
REAP_SECONDS = 2.0


class CommandArguments(Arguments):
    """A permitted command line, the host (localhost or this pod's name) and the seconds it may take."""

    command: str = Field(min_length=1, max_length=4000)
    target_host: str = Field(min_length=1, max_length=253)
    timeout: int = Field(default=30, ge=1, le=MAX_SECONDS)


class Execution(BaseModel):
    """What a command did; ``*_bytes_cut`` counts what its output had beyond the limit."""

    command: list[str]
    host: str
    exit_code: int
    stdout: str
    stderr: str
    stdout_bytes_cut: int
    stderr_bytes_cut: int
    seconds: float


async def _bounded(stream: asyncio.StreamReader) -> tuple[str, int]:
    """Read to the end; return the text that is kept and how many bytes are not."""
    kept, cut = bytearray(), 0
    while chunk := await stream.read(16 * 1024):
        room = MAX_STREAM_BYTES - len(kept)
        kept += chunk[:room]
        cut += max(0, len(chunk) - room)
    return kept.decode("utf-8", "replace"), cut


async def _output(process: asyncio.subprocess.Process) -> tuple[tuple[str, int], tuple[str, int], int]:
    """Return what a process writes to stdout and stderr, and its exit code."""
    assert process.stdout is not None and process.stderr is not None  # noqa: S101  both are pipes
    out, err = await asyncio.gather(_bounded(process.stdout), _bounded(process.stderr))
    return out, err, await process.wait()


async def execute(words: tuple[str, ...], host: str, seconds: int) -> Execution:
    """Run one command in a process group of its own; ToolFailure when it cannot start, fails or takes too long."""
    started = time.perf_counter()
    # Not our environment: it holds the passwords of the database and the cache.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": "/"}
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise ToolFailure(f"{words[0]} cannot be started: {reason_of(error)}") from None
    work = asyncio.ensure_future(_output(process))
    try:
        async with asyncio.timeout(seconds):
            (out, out_cut), (err, err_cut), code = await asyncio.shield(work)
    except TimeoutError:
        raise ToolFailure(f"{words[0]} did not end within {seconds} s and was killed") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.move_on_after(REAP_SECONDS, shield=True):  # cancelled or not: no zombie, no open pipe
            await asyncio.wait([work])
        work.cancel()
    result = Execution(
        command=list(words),
        host=host,
        exit_code=code,
        stdout=out,
        stderr=err,
        stdout_bytes_cut=out_cut,
        stderr_bytes_cut=err_cut,
        seconds=round(time.perf_counter() - started, 4),
    )
    if code:
        raise ToolFailure(f"{words[0]} ended with exit code {code}", answer=result)
    return result


def command_tool(permitted: frozenset[tuple[str, ...]], instance: str) -> Tool:
    """Return the tool; ``instance`` is the name under which this pod may be addressed."""
    here = {"localhost", "127.0.0.1", instance.lower(), socket.gethostname().lower()}

    async def run(arguments: CommandArguments) -> Execution:
        if arguments.target_host.lower() not in here:
            raise ToolFailure(
                f"commands run in this pod only: write target_host localhost, not {arguments.target_host[:64]!r}",
                "refused",
            )
        try:
            words = tuple(shlex.split(arguments.command))
        except ValueError as error:
            raise ToolFailure(f"command cannot be split into words: {error}", "refused") from None
        if words not in permitted:
            known = "; ".join(sorted(shlex.join(line) for line in permitted)) or "none"
            raise ToolFailure(f"MCP_COMMANDS does not permit this command; permitted: {known}", "refused")
        return await execute(words, instance, arguments.timeout)

    return Tool(
        "execute_command",
        "Run one of the commands that the configuration permits, in the API's pod, without a shell.",
        CommandArguments,
        Execution,
        run,
        seconds=MAX_SECONDS + 5,
    )
