# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `twisterlab-backup COMMAND`. Exit 0 good, 1 fault (one sentence on stderr), 2 not understood."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import types
from pathlib import Path

from . import listing, run, serve, settings, show, state
from . import restore as restoring
from .errors import Fault, clean


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="twisterlab-backup", description="Backup, drill and restore of a TwisterLab.")
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("run", help="back up, thin out, check and drill")
    made.add_argument("--reason", default="", help="kept in the state")
    drilled = commands.add_parser("drill", help="prove a snapshot")
    drilled.add_argument("--snapshot", default="latest", help="an id; default: the newest")
    listed = commands.add_parser("list", help="what there is to restore")
    listed.add_argument("--json", action="store_true")
    restored = commands.add_parser("restore", help="restore beside, compare, switch")
    which = restored.add_mutually_exclusive_group(required=True)
    which.add_argument("--snapshot", default="", help="an id or latest")
    which.add_argument("--time", default="", help="a second, as 2026-11-26T18:00:00Z")
    restored.add_argument("--parts", default="postgres", help="some of postgres,redis")
    restored.add_argument("--replace", action="store_true", help="replace what is there")
    restored.add_argument("--keep-old", action="store_true", help="keep the databases of earlier restores, too")
    commands.add_parser("serve", help="receive WAL, serve metrics")
    shown = commands.add_parser("show", help="write a part of a snapshot into a file")
    shown.add_argument("--part", required=True, choices=sorted(show.FILES))
    shown.add_argument("--snapshot", default="latest")
    shown.add_argument("--dest", required=True, type=Path)
    return parser


def _request(arguments: argparse.Namespace) -> restoring.Request:
    time = None
    if arguments.time:
        try:
            time = state.moment(arguments.time).replace(microsecond=0)
        except ValueError as error:
            raise Fault(
                f"--time is {arguments.time!r}: write a time with its zone, as 2026-11-26T18:00:00Z."
            ) from error
    parts = settings.parts(arguments.parts, "--parts")
    return restoring.Request(arguments.snapshot, time, parts, arguments.replace, arguments.keep_old)


def _ended(number: int, _frame: types.FrameType | None) -> None:
    """SIGTERM unwinds, so that throw-away servers end and the work folder is emptied."""
    raise SystemExit(128 + number)


def main(words: list[str] | None = None) -> int:
    """Run one command."""
    arguments = _arguments().parse_args(words)
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _ended)
    try:
        given = settings.read()
        if arguments.command == "run":
            run.run(given, arguments.reason)
        elif arguments.command == "drill":
            run.drill_again(given, arguments.snapshot)
        elif arguments.command == "list":
            listing.listing(given, arguments.json)
        elif arguments.command == "restore":
            restoring.restore(given, _request(arguments))
        elif arguments.command == "show":
            show.show(given, arguments.part, arguments.snapshot, arguments.dest)
        else:
            serve.serve(given)
    except Fault as fault:
        print(clean(str(fault)), file=sys.stderr)
        return 1
    except OSError as error:
        print(clean(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}."), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
