# SPDX-License-Identifier: GPL-3.0-or-later
"""New passwords one at a time, without a failed request: a server takes the new one beside the old one, the pods roll, then the old one goes.

What is going on stands in the Secret itself, so a run that was cut off goes on where it stopped: `<key>_next` is chosen and not yet in use,
`<key>_previous` is replaced and not yet refused, and an annotation lists the keys that wait.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from . import _kinds as kinds
from . import _objects as objects
from . import _secrets
from ._api import Api
from ._errors import ApiError, PlatformError, Refused
from ._objects import Object
from ._secrets import literal

ANNOTATION = "twisterlab.io/rotation"
#: In this order, and for whom.
KEYS = {
    "postgres_password": "Postgres",
    "postgres_exporter_password": "the exporter of Postgres",
    "backup_postgres_password": "the receiver of the backups",
    "redis_password": "Redis",
    "jwt_secret_key": "the API's signatures",
    "mcp_token": "clients of the MCP agents",
    "grafana_admin_password": "Grafana",
    "prometheus_password": "the public name of Prometheus",
}
#: Keys of which the one before stays valid, until the next rotation or the end of the overlap.
OVERLAP = ("jwt_secret_key", "mcp_token")
#: Which a server keeps in data of its own.
KEPT = frozenset({"postgres_password", "redis_password", "grafana_admin_password"})
SHORTEST = 32


@dataclass
class State:
    """What is under way.

    Attributes:
        todo: keys that wait, the current one first.
        current: the key whose new value is chosen; empty between two.
        switched: whether the Secret holds its new value already.
    """

    todo: list[str] = field(default_factory=list)
    current: str = ""
    switched: bool = False


class Server(Protocol):
    """Whoever keeps a password in data of its own."""

    def accept(self, values: dict[str, str], new: str) -> dict[str, str]:
        """Take the new password beside the old one; answer what else the Secret must hold."""

    def retire(self, values: dict[str, str], old: str) -> str:
        """Refuse the old password and prove it; say what was seen."""


class Nobody:
    """For keys that only our own pods compare: rolling them is all."""

    def accept(self, values: dict[str, str], new: str) -> dict[str, str]:
        """Nothing."""
        return {}

    def retire(self, values: dict[str, str], old: str) -> str:
        """Nothing."""
        return "the pods that refer to it were replaced"


class Book:
    """The Secret and what it says of a rotation."""

    def __init__(self, api: Api, namespace: str, check: Callable[[], None] = lambda: None) -> None:
        """Read it.

        Args:
            api: the cluster.
            namespace: where it is.
            check: raises before a write that must not be any more.

        Raises:
            Refused: it is not there.
        """
        self._api = api
        self._namespace = namespace
        self._check = check
        live = api.get(kinds.SECRET, _secrets.SECRET_NAME, namespace)
        if live is None:
            raise Refused(
                f"Secret/{_secrets.SECRET_NAME} does not exist in namespace {namespace}: run deploy.yml first."
            )
        self._live = live
        self.values = _secrets.decode(live.get("data"))
        self.state = State(**json.loads(objects.notes(live).get(ANNOTATION) or "{}"))

    def write(self, changed: dict[str, str], removed: tuple[str, ...] = ()) -> None:
        """Write values and the state at once.

        Raises:
            PlatformError: somebody else wrote it since it was read.
        """
        self._check()
        data = {**(self._live.get("data") or {}), **_secrets.encode(changed)}
        data = {key: value for key, value in data.items() if key not in removed}
        notes = {key: value for key, value in objects.notes(self._live).items() if key != ANNOTATION}
        if self.state.todo:
            notes[ANNOTATION] = json.dumps(vars(self.state), separators=(",", ":"))
        metadata = {**objects.meta(self._live), "annotations": notes}
        metadata.pop("managedFields", None)
        try:
            self._live = self._api.replace(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": metadata,
                    "type": self._live.get("type"),
                    "data": data,
                }
            )
        except ApiError as error:
            if error.status != 409:
                raise
            raise PlatformError(
                f"Secret/{_secrets.SECRET_NAME} was written by somebody else meanwhile: run the same command again, it goes on."
            ) from error
        self.values = _secrets.decode(self._live.get("data"))


def waiting(live: Object | None) -> set[str]:
    """The keys of the Secret whose turn has not ended: a release must not give them another value, as no server would be told of it."""
    return set(State(**json.loads(objects.notes(live or {}).get(ANNOTATION) or "{}")).todo)


def plan(
    book: Book, wanted: list[str], supplied: dict[str, str], dry_run: bool, away: Collection[str] = ()
) -> tuple[list[str], dict[str, str], bool]:
    """What will be rotated: the rest of a run that was cut off, or all that is wanted.

    Args:
        book: the Secret.
        wanted: keys; empty means all.
        supplied: values of the user's.
        dry_run: whether nothing is written.
        away: keys whose server does not run, but may have kept the value in its volume.

    Returns:
        The keys in order, why others are left, and whether a former run is continued.

    Raises:
        Refused: a key is not known.
    """
    for key in wanted:
        if key not in KEYS:
            raise Refused(f"rotate_secrets_keys: {key} is no key that can be rotated; choose from {', '.join(KEYS)}.")
    missing = {key: "the stack has no such password" for key in KEYS if key not in book.values}
    left = {key: f"{KEYS[key]} does not run here" for key in away} | missing
    asked = wanted or list(KEYS)
    former = book.state.todo
    if former:
        todo = [key for key in former if key not in left]
        if todo != former and not dry_run:
            book.state = replace(book.state, todo=todo) if book.state.current in todo else State(todo)
            book.write({})
        return todo, {key: why for key, why in left.items() if key in asked or key in former}, True
    left |= {
        key: "it is supplied in twisterlab_secrets: write another value there and run this again"
        for key in set(KEYS) - set(missing)
        if supplied.get(key) == book.values[key]
    }
    todo = [key for key in KEYS if key in asked and key not in left]
    left = {key: left[key] for key in KEYS if key in asked and key in left}
    book.state = State(todo)
    if todo and not dry_run:
        book.write({})
    return todo, left, False


def begin(book: Book, key: str, supplied: dict[str, str], choose: Callable[[int], str], server: Server) -> str:
    """Have the new value accepted, and write it; the old one is still valid.

    Returns:
        What was done, for people.
    """
    state = book.state
    if key not in state.todo:
        return f"{key} is done already"
    if state.current == key and state.switched:
        return f"{key} was replaced before; going on"
    pending = f"{key}_next"
    new = supplied.get(key) or book.values.get(pending) or choose(max(SHORTEST, len(book.values[key])))
    state.current, state.switched = key, False
    # Kept before any server knows it: a run that is cut off here must not lose it.
    book.write({pending: new})
    besides = server.accept(book.values, new)
    state.switched = True
    before = {f"{name}_previous": book.values[name] for name in (key, *besides) if name in book.values}
    book.write({key: new, **besides, **before}, removed=(pending,))
    return f"{key}: {KEYS[key]} takes a new one beside the old one"


def finish(book: Book, key: str, server: Server) -> str:
    """Have the old value refused, and forget it.

    Returns:
        What was seen, for people.
    """
    state = book.state
    if key not in state.todo:
        return f"{key} is done already"
    if state.current != key or not state.switched:
        raise PlatformError(f"{key} was not replaced yet: run the same command again.")
    seen = server.retire(book.values, book.values.get(f"{key}_previous", ""))
    state.todo.remove(key)
    state.current, state.switched = "", False
    gone = () if key in OVERLAP else (f"{key}_previous", f"{_secrets.LOGIN}_previous")
    book.write({}, removed=gone)
    return f"{key}: {seen}"


def end_overlap(book: Book, dry_run: bool = False) -> list[str]:
    """Let only the newest of the overlapping keys be valid; a dry run only says which are not yet.

    Returns:
        The keys that changed.
    """
    late = [key for key in OVERLAP if book.values.get(f"{key}_previous", book.values.get(key)) != book.values.get(key)]
    if late and not dry_run:
        book.write({f"{key}_previous": book.values[key] for key in late})
    return late


# -- servers -----------------------------------------------------------------------------------------------------------

#: `shell(script, arguments, stdin)` in a server's container answers whether it ended well, and what it wrote.
Shell = Callable[[str, list[str], str], tuple[bool, str]]

_PSQL = "exec psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1"
_ADMIN = f'{_PSQL} --username="$POSTGRES_USER" --dbname="$POSTGRES_DB"'
_LOGIN = (
    f"IFS= read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=5; {_PSQL} --no-password "
    '--host="$POD_IP" --username="$1" --dbname="$POSTGRES_DB" --command="SELECT 1" </dev/null'
)
# The statements hold a password: nothing of them goes to the server's log.
_QUIET = "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';"


def identifier(value: str) -> str:
    """A name in SQL."""
    return '"' + value.replace('"', '""') + '"'


class Postgres:
    """Two login roles, members of the owner of the data, take turns."""

    def __init__(self, shell: Shell, settled: Callable[[str, str], None], owner: str) -> None:
        """Take the ways into its container.

        Args:
            shell: in the server's container.
            settled: waits until a file of the container holds a text.
            owner: the role that owns the data.
        """
        self._shell = shell
        self._settled = settled
        self._owner = owner

    def _sql(self, *statements: str) -> str:
        good, text = self._shell(_ADMIN, [], "\n".join((_QUIET, *statements, "\\q", "")))
        if not good:
            raise PlatformError(f"Postgres refuses: {text.strip()[-300:]}")
        return text

    def _lets_in(self, login: str, password: str) -> bool:
        return self._shell(_LOGIN, [login], password + "\n")[0]

    def accept(self, values: dict[str, str], new: str) -> dict[str, str]:
        """Make the other login role."""
        one, other = f"{self._owner}_a", f"{self._owner}_b"
        login = other if values.get(_secrets.LOGIN) == one else one
        name, owner = identifier(login), identifier(self._owner)
        self._sql(
            # DDL takes no parameters, so names and texts are quoted as SQL wants them.
            f"SELECT {literal('CREATE ROLE ' + name)} WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(login)}) \\gexec",  # noqa: S608
            f"ALTER ROLE {name} LOGIN INHERIT PASSWORD {literal(new)};",
            f"GRANT {owner} TO {name};",
            # What it makes belongs to the owner, whoever logs in next.
            f"ALTER ROLE {name} SET role = {literal(self._owner)};",
        )
        if not self._lets_in(login, new):
            raise PlatformError(f"Postgres does not let the new role {login} in: look at its log, and run again.")
        return {_secrets.LOGIN: login}

    def retire(self, values: dict[str, str], old: str) -> str:
        """Close the former login; the owner keeps its way in over the socket of the pod."""
        self._settled("/run/secrets/postgres/login", values[_secrets.LOGIN])
        former = values.get(f"{_secrets.LOGIN}_previous", self._owner)
        name = identifier(former)
        self._sql(
            f"ALTER ROLE {name} PASSWORD NULL;"
            if former == self._owner
            else f"ALTER ROLE {name} NOLOGIN PASSWORD NULL;",
            f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = {literal(former)}"  # noqa: S608
            " AND pid <> pg_backend_pid() AND client_addr IS NOT NULL;",
        )
        if old and self._lets_in(former, old):
            raise PlatformError(f"Postgres still lets {former} in with the old password: look at its pg_hba.conf.")
        if not self._lets_in(values[_secrets.LOGIN], values["postgres_password"]):
            raise PlatformError(f"Postgres does not let {values[_secrets.LOGIN]} in with the password of the Secret.")
        return f"{values[_secrets.LOGIN]} logs in, {former} is refused with the old password"


class Helper:
    """Whose own pod gives its role of Postgres the password of the Secret, when it begins."""

    def __init__(self, shell: Shell, role: str, key: str) -> None:
        """Take the way into Postgres' container.

        Args:
            shell: in that container.
            role: as which the pod logs in.
            key: the key of its password.
        """
        self._shell = shell
        self._role = role
        self._key = key

    def accept(self, values: dict[str, str], new: str) -> dict[str, str]:
        """Nothing: its new pod does it."""
        return {}

    def retire(self, values: dict[str, str], old: str) -> str:
        """See that the role has the new one alone."""
        if old and self._shell(_LOGIN, [self._role], old + "\n")[0]:
            raise PlatformError(f"Postgres still lets {self._role} in with the old password.")
        if not self._shell(_LOGIN, [self._role], values[self._key] + "\n")[0]:
            raise PlatformError(f"Postgres does not let {self._role} in with the password of the Secret.")
        return f"{self._role} logs in, and is refused with the old password"


class Redis:
    """Its user `default` may have several passwords."""

    _OWN = 'REDISCLI_AUTH="$(cat /etc/twisterlab/password)" exec redis-cli -h 127.0.0.1'

    def __init__(self, shell: Shell, settled: Callable[[str, str], None]) -> None:
        self._shell = shell
        self._settled = settled

    def _ask(self, script: str, line: str) -> str:
        return self._shell(script, [], f"{line}\nquit\n")[1].strip()

    def _lets_in(self, password: str) -> bool:
        return self._ask("exec redis-cli -h 127.0.0.1", f"AUTH {_secrets._quoted(password)}").startswith("OK")

    def accept(self, values: dict[str, str], new: str) -> dict[str, str]:
        """Add the new one."""
        told = self._ask(self._OWN, f"ACL SETUSER default {_secrets._quoted('>' + new)}")
        if not told.startswith("OK") or not self._lets_in(new):
            raise PlatformError(
                "Redis does not take a second password for its user default: look whether its configuration forbids ACL."
            )
        return {}

    def retire(self, values: dict[str, str], old: str) -> str:
        """Leave the new one alone."""
        new = values["redis_password"]
        self._settled("/etc/twisterlab/password", new)
        self._ask(self._OWN, f"ACL SETUSER default resetpass {_secrets._quoted('>' + new)}")
        if old and self._lets_in(old):
            raise PlatformError("Redis still takes the old password.")
        if not self._lets_in(new):
            raise PlatformError("Redis does not take the password of the Secret.")
        return "the new password is taken, the old one refused"


class Grafana:
    """Keeps the password of its administrator in its database."""

    def __init__(self, ask: Callable[..., Any], user: str) -> None:
        self._ask = ask
        self._user = user

    def _headers(self, password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{self._user}:{password}".encode()).decode()}

    def _lets_in(self, password: str) -> bool:
        return int(self._ask("/api/user", headers=self._headers(password)).status) == 200

    def accept(self, values: dict[str, str], new: str) -> dict[str, str]:
        """Change it: Grafana has one at a time, and only people have it."""
        if self._lets_in(new):
            return {}
        old = values["grafana_admin_password"]
        body = {"oldPassword": old, "newPassword": new, "confirmNew": new}
        answer = self._ask("/api/user/password", body=body, headers=self._headers(old), method="PUT")
        if answer.status != 200:
            raise PlatformError(
                f"Grafana answers {answer.status} to the change of the password of {self._user}: if somebody changed it there, "
                "supply that one as grafana_admin_password in twisterlab_secrets and run again."
            )
        return {}

    def retire(self, values: dict[str, str], old: str) -> str:
        """See that it has the new one alone."""
        if not self._lets_in(values["grafana_admin_password"]):
            raise PlatformError(f"Grafana does not let {self._user} in with the password of the Secret.")
        if old and self._lets_in(old):
            raise PlatformError(f"Grafana still lets {self._user} in with the old password.")
        return f"{self._user} is let in, and refused with the old password"
