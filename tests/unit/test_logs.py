# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs: whose, in which order, from when on, and what of them nobody may see."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.action import logs as action
from ansible_collections.twisterlab.platform.plugins.module_utils import _components, _logs
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._logs import Line
from kube_fake import NAMESPACE, FakeCluster, labels, namespace

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "Xy7-quite/secret+value"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLW9mLWl0"


def pod(cluster: FakeCluster, name: str, component: str, **state: Any) -> None:
    states = [{"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}, **state}]
    metadata = {"name": name, "labels": labels(component)}
    cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"containerStatuses": states}})


def stack() -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(namespace())
    pod(cluster, "api-1", "api")
    pod(cluster, "api-2", "api")
    pod(cluster, "redis-1", "redis")
    cluster.logs = {
        ("api-1/main", False): "2026-11-23T08:59:00.000000002Z one\n2026-11-23T08:59:02Z three\n",
        ("api-2/main", False): "2026-11-23T08:59:01.5Z two\n  that goes on\n2026-11-23T08:59:03Z four\n",
        ("redis-1/main", False): "2026-11-23T08:59:00Z of another tier\n",
    }
    return cluster


def secret(cluster: FakeCluster, name: str = "twisterlab-secrets", **values: str) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})


def look(
    cluster: FakeCluster, component: str = "api", cursors: dict[str, str] | None = None, **rest: Any
) -> _logs.Found:
    options = {"lines": 100, "since": 0, **rest}
    hide = _logs.hider(cluster, NAMESPACE)
    return _logs.look(cluster, NAMESPACE, _components.chosen(component), cursors=cursors or {}, hide=hide, **options)


def test_two_pods_are_one_log_by_time_and_a_line_without_a_time_stays_where_it_belongs() -> None:
    found = look(stack())
    assert [line.text for line in found.lines] == ["one", "two", "  that goes on", "three", "four"]
    assert _logs.shown(found.lines[1]) == "2026-11-23T08:59:01.500Z api-2 main | two"
    assert found.notes == []


def test_lines_and_since_are_asked_of_the_server() -> None:
    cluster = stack()
    assert [line.text for line in look(cluster, lines=1, since=90).lines] == ["three", "four"]
    assert any("tailLines=1 sinceSeconds=90" in call for call in cluster.calls)


def test_a_log_that_is_cut_says_so_and_ends_with_a_whole_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = stack()
    secret(cluster, REDIS_PASSWORD="horse-battery-staple")
    cluster.logs[("redis-1/main", False)] = "2026-11-23T08:59:00Z one\n2026-11-23T08:59:01Z with horse-battery-staple\n"
    monkeypatch.setattr(_logs, "LIMIT_BYTES", 60)
    found = look(cluster, "redis")
    assert [line.text for line in found.lines] == ["one"]
    (note,) = found.notes
    assert "redis-1/main" in note and "newest are missing" in note and "twisterlab_logs_lines" in note
    monkeypatch.setattr(_logs, "LIMIT_BYTES", 99)
    assert [line.text for line in look(cluster, "redis", cursors=found.cursors).lines] == ["with <redacted>"]


def test_following_shows_only_what_is_new_and_new_pods_from_their_beginning() -> None:
    cluster = stack()
    first = look(cluster)
    assert look(cluster, cursors=first.cursors).lines == []
    cluster.logs[("api-1/main", False)] += "2026-11-23T08:59:02.1Z in the same second\n"
    pod(cluster, "api-3", "api")
    cluster.logs[("api-3/main", False)] = "2026-11-23T08:58:00Z born\n"
    second = look(cluster, cursors=first.cursors, lines=1)
    assert [line.text for line in second.lines] == ["born", "in the same second"]
    assert look(cluster, cursors=second.cursors).lines == []


def test_the_run_that_crashed_comes_before_with_how_it_ended() -> None:
    cluster = stack()
    ended = {"exitCode": 3, "reason": "Error", "finishedAt": "2026-11-23T08:59:30Z"}
    pod(
        cluster,
        "api-1",
        "api",
        ready=False,
        restartCount=2,
        state={"waiting": {"reason": "CrashLoopBackOff"}},
        lastState={"terminated": ended},
    )
    cluster.logs[("api-1/main", True)] = "2026-11-23T08:58:59Z no such configuration\n"
    found = look(cluster)
    assert (
        _logs.shown(found.lines[0]) == "2026-11-23T08:58:59.000Z api-1 main (before it ended) | no such configuration"
    )
    assert found.notes == ["api-1/main ended with exit code 3 (Error) at 2026-11-23T08:59:30Z, restarts: 2"]
    # One that ended long ago and is well since is no news.
    pod(
        cluster,
        "api-1",
        "api",
        restartCount=2,
        lastState={"terminated": {**ended, "finishedAt": "2026-11-22T08:00:00Z"}},
    )
    assert "no such configuration" not in [line.text for line in look(cluster).lines]


def test_a_container_that_never_ran_says_why() -> None:
    cluster = stack()
    pod(
        cluster,
        "api-1",
        "api",
        ready=False,
        state={"waiting": {"reason": "ImagePullBackOff", "message": "localhost/none:1\nnot found"}},
    )
    assert look(cluster).notes == ["api-1/main has not run: ImagePullBackOff, localhost/none:1 not found"]
    del cluster.logs[("api-2/main", False)]
    assert 'api-2/main has no log: container "main" in pod "api-2" is waiting to start' in look(cluster).notes


def test_no_value_of_a_secret_is_shown_in_any_form() -> None:
    cluster = stack()
    key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0w\n-----END PRIVATE KEY-----\n"
    secret(cluster, postgres_password=PASSWORD, postgres_login="twisterlab")
    secret(cluster, "twisterlab-tls", **{"tls.key": key, "tls.crt": "public certificate"})
    said = [
        f"password={PASSWORD}",
        "url=postgresql://twisterlab:Xy7-quite%2Fsecret%2Bvalue@postgres/db",
        f"encoded={base64.b64encode(PASSWORD.encode()).decode()}",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0w",
        "user twisterlab of the public certificate",
    ]
    cluster.logs[("api-1/main", False)] = "".join(f"2026-11-23T08:59:00Z {text}\n" for text in said)
    texts = [line.text for line in look(cluster).lines if line.source == "api-1 main"]
    assert texts == [
        "password=<redacted>",
        "url=postgresql://twisterlab:<redacted>@postgres/db",
        "encoded=<redacted>",
        "<redacted>",
        "user twisterlab of the public certificate",
    ]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer <redacted>"),
        ('{"authorization": "Basic dXNlcjpwYXNz", "a": 1}', '{"authorization": "Basic <redacted>", "a": 1}'),
        ("got bearer 0123456789abcdef== from x", "got bearer <redacted> from x"),
        (f"jwt {TOKEN} is old", "jwt <redacted> is old"),
        ("the bearer token is missing", "the bearer token is missing"),
        ("bearer authentication failed", "bearer authentication failed"),
    ],
)
def test_what_looks_like_a_credential_is_hidden_whosever_it_is(text: str, safe: str) -> None:
    assert _logs.hider(stack(), NAMESPACE)(text) == safe


def test_who_may_not_read_the_secret_gets_no_log() -> None:
    cluster = stack()
    cluster.errors = {"get Secret/twisterlab-secrets": ApiError(403, "Forbidden", "secrets is forbidden", "x")}
    with pytest.raises(
        Refused, match=r"could not be hidden in the logs, since it cannot be read \(secrets is forbidden\)"
    ):
        look(cluster)
    assert not [call for call in cluster.calls if call.startswith("log")]


def test_a_wrong_tier_gets_the_list() -> None:
    with pytest.raises(
        Refused,
        match=r"'apo', which is no tier; write one of postgres, redis, api, .*mcp \(mcp-orchestrator and mcp-monitoring\)",
    ):
        _components.chosen("apo")
    assert _components.chosen("mcp") == ("mcp-orchestrator", "mcp-monitoring")
    assert _components.chosen("") == _components.COMPONENTS


def test_the_tiers_are_the_tags_of_the_playbooks() -> None:
    tasks = yaml.safe_load((ROOT / "playbooks" / "tasks" / "tiers.yml").read_text(encoding="utf-8"))
    tags = {tag for task in tasks for tag in task["tags"]}
    # The namespace and the policies have no pods.
    assert tags - {"base", "network"} <= {*_components.COMPONENTS, *_components.GROUPS}
    assert set(_components.COMPONENTS) - {"backup"} <= tags


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800)])
def test_a_span_of_time(text: str, seconds: int) -> None:
    assert _logs.span(text) == seconds


@pytest.mark.parametrize("text", ["15", "m", "yesterday", "1 h", "-5m", "1h 30m"])
def test_what_is_no_span_of_time(text: str) -> None:
    with pytest.raises(Refused, match="write a time with its unit"):
        _logs.span(text)


def test_lines_of_one_time_stay_in_the_order_of_their_container() -> None:
    same = [Line("t", "b", "2"), Line("t", "b", "1")]
    assert _logs.merged([same, [Line("s", "a", "0")]]) == [Line("s", "a", "0"), *same]


class Action(action.ActionModule):
    """Its module answers from a list."""

    def __init__(self, answers: list[dict[str, Any]], arguments: dict[str, Any]) -> None:
        self.answers, self.arguments, self.asked, self.said = answers, arguments, [], []

    def own_arguments(self) -> dict[str, Any]:
        return dict(self.arguments)

    def call(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(arguments)
        return self.answers.pop(0) if self.answers else {"failed": True, "msg": "the end"}

    def say(self, task_vars: dict[str, Any], text: str) -> None:
        self.said.append(text)


def test_following_goes_on_where_the_call_before_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action.ClusterAction, "run", lambda *_: {})
    answers = [
        {"lines": ["a"], "notes": ["n"], "cursors": {"p/c": "1"}},
        {"lines": [], "notes": [], "cursors": {"p/c": "1"}},
        {"lines": ["b"], "notes": [], "cursors": {"p/c": "2"}},
    ]
    following = Action(answers, {"follow": "true", "follow_seconds": 3600})
    assert following.run(None, {})["msg"] == "the end"
    assert [item.get("cursors") for item in following.asked] == [None, {"p/c": "1"}, {"p/c": "1"}, {"p/c": "2"}]
    assert following.said == ["n"]
    once = Action([answers[0]] if answers else [{"lines": ["a"], "notes": [], "cursors": {}}], {"follow": "false"})
    assert "cursors" not in once.run(None, {})
    assert len(once.asked) == 1
