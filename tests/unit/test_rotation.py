# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation: every step can be the last of a run, and the next run goes on with the same values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils import _rotation as rotation
from ansible_collections.twisterlab.platform.plugins.module_utils import _secrets, _vault
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import (
    ApiError,
    LeaseLost,
    PlatformError,
    Refused,
)
from ansible_collections.twisterlab.platform.plugins.module_utils._secrets import Declaration


class Cluster:
    """One Secret."""

    def __init__(self, values: dict[str, str]) -> None:
        self.version = 1
        self.live: dict[str, Any] = {
            "metadata": {
                "name": "twisterlab-secrets",
                "namespace": "n",
                "resourceVersion": "1",
                "annotations": {"x": "y"},
            },
            "data": _secrets.encode(values),
        }

    def get(self, *_given: Any) -> dict[str, Any]:
        return json.loads(json.dumps(self.live))

    def replace(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        if obj["metadata"]["resourceVersion"] != str(self.version):
            raise ApiError(409, "Conflict", "changed")
        self.version += 1
        self.live = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        return self.get()

    def book(self) -> rotation.Book:
        return rotation.Book(self, "n")  # type: ignore[arg-type]

    @property
    def values(self) -> dict[str, str]:
        return _secrets.decode(self.live["data"])


class Server:
    """Keeps a set of passwords, and may be away."""

    def __init__(self, first: str) -> None:
        self.valid = {first}
        self.away = False

    def accept(self, values: dict[str, str], new: str) -> dict[str, str]:
        if self.away:
            raise PlatformError("away")
        self.valid.add(new)
        return {}

    def retire(self, values: dict[str, str], old: str) -> str:
        if self.away:
            raise PlatformError("away")
        self.valid -= {old}
        return "seen"


def chooser() -> Any:
    """Values that differ."""
    turns = iter(range(100))
    return lambda length: f"{next(turns)}".rjust(length, "n")


def test_a_run_cut_off_anywhere_goes_on_with_the_same_values() -> None:
    cluster, server, choose = Cluster({"redis_password": "old" * 12}), Server("old" * 12), chooser()
    todo, left, resumed = rotation.plan(cluster.book(), [], {}, dry_run=False)
    assert (todo, resumed) == (["redis_password"], False)
    assert "postgres_password" in left
    server.away = True
    with pytest.raises(PlatformError, match="away"):
        rotation.begin(cluster.book(), "redis_password", {}, choose, server)
    chosen = cluster.values["redis_password_next"]
    assert cluster.values["redis_password"] == "old" * 12
    server.away = False
    assert rotation.plan(cluster.book(), [], {}, dry_run=False)[2]
    rotation.begin(cluster.book(), "redis_password", {}, choose, server)
    assert cluster.values == {"redis_password": chosen, "redis_password_previous": "old" * 12}
    assert server.valid == {"old" * 12, chosen}
    assert "going on" in rotation.begin(cluster.book(), "redis_password", {}, choose, server)
    server.away = True
    with pytest.raises(PlatformError, match="away"):
        rotation.finish(cluster.book(), "redis_password", server)
    server.away = False
    assert rotation.finish(cluster.book(), "redis_password", server) == "redis_password: seen"
    assert cluster.values == {"redis_password": chosen}
    assert server.valid == {chosen}
    assert cluster.live["metadata"]["annotations"] == {"x": "y"}


def test_the_old_one_is_not_refused_before_the_new_one_is_in_use() -> None:
    cluster, server = Cluster({"redis_password": "old" * 12}), Server("old" * 12)
    rotation.plan(cluster.book(), [], {}, dry_run=False)
    with pytest.raises(PlatformError, match="not replaced yet"):
        rotation.finish(cluster.book(), "redis_password", server)
    assert server.valid == {"old" * 12}


def test_what_overlaps_stays_until_its_end() -> None:
    cluster = Cluster({"mcp_token": "t" * 48, "mcp_token_previous": "t" * 48})
    rotation.plan(cluster.book(), ["mcp_token"], {}, dry_run=False)
    rotation.begin(cluster.book(), "mcp_token", {}, chooser(), rotation.Nobody())
    rotation.finish(cluster.book(), "mcp_token", rotation.Nobody())
    assert cluster.values["mcp_token_previous"] == "t" * 48 != cluster.values["mcp_token"]
    assert len(cluster.values["mcp_token"]) == 48
    assert rotation.end_overlap(cluster.book(), dry_run=True) == ["mcp_token"]
    assert cluster.values["mcp_token_previous"] != cluster.values["mcp_token"]
    assert rotation.end_overlap(cluster.book()) == ["mcp_token"]
    assert cluster.values["mcp_token_previous"] == cluster.values["mcp_token"]
    assert rotation.end_overlap(cluster.book()) == []


def test_supplied_values_win_and_those_in_use_are_left() -> None:
    cluster, server = Cluster({"redis_password": "a" * 32, "mcp_token": "b" * 32}), Server("a" * 32)
    supplied = {"redis_password": "mine", "mcp_token": "b" * 32}
    todo, left, _resumed = rotation.plan(cluster.book(), [], supplied, dry_run=False)
    assert todo == ["redis_password"]
    assert "supplied in twisterlab_secrets" in left["mcp_token"]
    rotation.begin(cluster.book(), "redis_password", supplied, chooser(), server)
    assert cluster.values["redis_password"] == "mine"


def test_a_password_that_a_server_which_is_off_keeps_is_left() -> None:
    cluster = Cluster({"redis_password": "a" * 32, "grafana_admin_password": "g" * 32, "mcp_token": "b" * 32})
    todo, left, _resumed = rotation.plan(cluster.book(), [], {}, False, ["grafana_admin_password", "postgres_password"])
    assert todo == ["redis_password", "mcp_token"]
    assert left["grafana_admin_password"] == "Grafana does not run here"
    assert rotation.plan(Cluster({"mcp_token": "b" * 32}).book(), ["mcp_token"], {}, False, ["redis_password"])[1] == {}
    # Also when it was switched off in the middle.
    rotation.begin(cluster.book(), "redis_password", {}, chooser(), Server("a" * 32))
    todo, left, resumed = rotation.plan(cluster.book(), [], {}, False, ["redis_password"])
    assert (todo, resumed) == (["mcp_token"], True)
    assert left["redis_password"] == "Redis does not run here"
    assert left["postgres_password"] == "the stack has no such password"
    assert cluster.book().state == rotation.State(["mcp_token"])
    assert cluster.values["grafana_admin_password"] == "g" * 32


def test_check_mode_writes_nothing_and_an_unknown_key_is_refused() -> None:
    cluster = Cluster({"redis_password": "a" * 32})
    assert rotation.plan(cluster.book(), [], {}, dry_run=True)[0] == ["redis_password"]
    assert cluster.version == 1
    with pytest.raises(Refused, match="salt is no key that can be rotated; choose from postgres_password"):
        rotation.plan(cluster.book(), ["salt"], {}, dry_run=True)


def test_a_writer_in_between_is_noticed() -> None:
    cluster = Cluster({"redis_password": "a" * 32})
    late = cluster.book()
    rotation.plan(cluster.book(), [], {}, dry_run=False)
    with pytest.raises(PlatformError, match="somebody else"):
        rotation.plan(late, [], {}, dry_run=False)


class Shell:
    """Remembers what was run; lets the login of its one password in."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.texts: list[str] = []
        self.arguments: list[list[str]] = []

    def __call__(self, script: str, arguments: list[str], text: str) -> tuple[bool, str]:
        self.texts.append(text)
        self.arguments.append([script, *arguments])
        return (text == self.password + "\n" if arguments else True), ""


def test_postgres_quotes_names_and_passwords_and_keeps_them_off_the_command_line() -> None:
    password = "it's \\ a \"trap\" :'x'"
    shell = Shell(password)
    server = rotation.Postgres(shell, lambda _file, _text: None, 'ow"ner')
    assert server.accept({"postgres_login": 'ow"ner_a'}, password) == {"postgres_login": 'ow"ner_b'}
    assert "ALTER ROLE \"ow\"\"ner_b\" LOGIN INHERIT PASSWORD 'it''s \\ a \"trap\" :''x''';" in shell.texts[0]
    assert not [word for words in shell.arguments for word in words if password in word]
    with pytest.raises(PlatformError, match="still lets"):
        server.retire({"postgres_login": 'ow"ner_b', "postgres_password": password}, password)


def test_a_step_that_outlives_its_playbook_writes_nothing_more() -> None:
    cluster = Cluster({"redis_password": "old" * 12})

    rotation.plan(cluster.book(), [], {}, dry_run=False)

    def check() -> None:
        raise LeaseLost("killed")

    book = rotation.Book(cluster, "n", check)  # type: ignore[arg-type]
    with pytest.raises(LeaseLost, match="killed"):
        rotation.begin(book, "redis_password", {}, chooser(), Server("old" * 12))
    assert cluster.values == {"redis_password": "old" * 12}


def test_postgres_refuses_a_nul() -> None:
    with pytest.raises(Refused, match="NUL"):
        _secrets.literal("a\0b")


def test_two_supplied_values_take_turns_and_no_release_anticipates_the_second() -> None:
    old = {"redis_password": "r" * 32, "mcp_token": "m" * 48, "grafana_admin_password": "g" * 32}
    cluster, server = Cluster({**old, "mcp_token_previous": "m" * 48}), Server("g" * 32)
    cluster.live["metadata"]["labels"] = objects.OURS
    supplied = {key: f"my own {key} of today" for key in old}
    keys = [Declaration(key, generated=32) for key in old]
    keys.append(Declaration("mcp_token_previous", initial="{mcp_token}"))

    def release() -> None:
        """As a release between two steps does it."""
        found = _vault.decide(cluster, "n", keys, supplied)  # type: ignore[arg-type]
        _vault.write(cluster, "n", found, keys, supplied)  # type: ignore[arg-type]

    todo, _left, _resumed = rotation.plan(cluster.book(), [], supplied, dry_run=False)
    assert todo == ["redis_password", "mcp_token", "grafana_admin_password"]
    rotation.begin(cluster.book(), "redis_password", supplied, chooser(), Server("r" * 32))
    release()
    assert cluster.values["redis_password"] == supplied["redis_password"]
    # Neither is in use before its turn: the agents would refuse the old token, and Grafana would not know the new password.
    assert {key: cluster.values[key] for key in todo[1:]} == {key: old[key] for key in todo[1:]}
    rotation.finish(cluster.book(), "redis_password", Server("r" * 32))
    rotation.begin(cluster.book(), "mcp_token", supplied, chooser(), rotation.Nobody())
    release()
    assert cluster.values["mcp_token_previous"] == "m" * 48
    rotation.finish(cluster.book(), "mcp_token", rotation.Nobody())
    rotation.begin(cluster.book(), "grafana_admin_password", supplied, chooser(), server)
    release()
    rotation.finish(cluster.book(), "grafana_admin_password", server)
    assert {key: cluster.values[key] for key in old} == supplied
