# SPDX-License-Identifier: GPL-3.0-or-later
"""The rendered configurations, read by their own programs; alerts that arrive; a refused configuration that changes nothing."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from alerts import alertmanager_yml, serve
from conftest import GOLDEN, checked, fetch, free_port, program, until

FIXTURES = sorted(path.name for path in GOLDEN.iterdir() if (path / "prometheus").is_dir())
NASTY = """a b!c#d$e%f&g'h"i\\j`k@/:{{x}}"""


def config_map(fixture: str, folder: Path) -> Path:
    """Write a fixture's configuration as the kubelet mounts it."""
    golden = GOLDEN / fixture / "prometheus" / "configmap-prometheus-config.yaml"
    folder.mkdir(parents=True)
    for name, text in yaml.safe_load(golden.read_text(encoding="utf-8"))["data"].items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("fixture", FIXTURES)
def test_promtool_reads_what_is_rendered(fixture: str, tmp_path: Path) -> None:
    folder = config_map(fixture, tmp_path / "config")
    checked(program("promtool"), "check", "config", "--syntax-only", str(folder / "prometheus.yml"))
    checked(program("promtool"), "check", "rules", *map(str, folder.glob("rules-*.yml")))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"webhook": True},
        {"slack": True, "slack_channel": "#a {b}"},
        {"email_to": "a@lab.example, b@lab.example", "smtp_host": "mail.lab.example"},
        {
            "webhook": "yes",
            "slack": True,
            "email_to": "a@lab.example",
            "smtp_host": "mail.lab.example",
            "smtp_user": "a: b",
            "heartbeat": True,
        },
    ],
)
def test_amtool_reads_what_is_derived(given: dict[str, Any], tmp_path: Path) -> None:
    urls = {
        f"alertmanager_{name}_url": f"https://127.0.0.1/{name}?x=%22&y={{z}}"
        for name in ("webhook", "slack", "heartbeat")
    }
    text = alertmanager_yml(given, alertmanager_smtp_password=NASTY, **urls)
    path = tmp_path / "alertmanager.yml"
    path.write_text(text, encoding="utf-8")
    checked(program("amtool"), "check-config", str(path))
    found = yaml.safe_load(text)
    if given.get("smtp_user"):
        (people,) = [item for item in found["receivers"] if item["name"] == "people"]
        assert people["email_configs"][0]["auth_password"] == NASTY
        assert people["webhook_configs"][0]["url"] == urls["alertmanager_webhook_url"]
        assert people["email_configs"][0]["headers"]["Subject"].startswith("[{{ .Status | toUpper }}]")


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    got: list[tuple[str, dict[str, Any]]]

    def do_POST(self) -> None:
        """Take one notification."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()
        # What Slack answers; without it Alertmanager counts a failure.
        self.wfile.write(b"ok")

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[tuple[str, dict[str, Any]]]]]:
    """A port that takes notifications, and what came."""
    handler = type("Handler", (Receiver,), {"got": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, handler.got
    server.shutdown()
    server.server_close()


def test_alerts_arrive_what_explains_them_silences_and_they_end(receiver: Any, start: Any, tmp_path: Path) -> None:
    port, got = receiver
    urls = {f"alertmanager_{name}_url": f"http://127.0.0.1:{port}/{name}" for name in ("webhook", "slack", "heartbeat")}
    server = serve(start, tmp_path, {"webhook": True, "slack": True, "heartbeat": True}, **urls)

    def send(name: str, severity: str, ended: bool = False) -> None:
        labels = {"alertname": name, "severity": severity, "job": "twisterlab-api"}
        now = time.time()
        stamp = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + shift)) for shift in (-60, -1 if ended else 600)]
        alert = {"labels": labels, "annotations": {"summary": name}, "startsAt": stamp[0], "endsAt": stamp[1]}
        server.json("/api/v2/alerts", body=[alert])

    def arrived(path: str, name: str, status: str) -> bool:
        return any(
            where == path and name in json.dumps(body) and status in json.dumps(body).lower() for where, body in got
        )

    send("ApiDown", "critical")
    send("ApiErrorRatioHigh", "critical")
    send("RedisMemoryHigh", "warning")
    send("Watchdog", "none")
    until(lambda: arrived("/webhook", "ApiDown", "firing"), what="the alert at the webhook")
    until(lambda: arrived("/webhook", "RedisMemoryHigh", "firing"), what="the other alert at the webhook")
    until(lambda: arrived("/slack", "ApiDown", "firing"), what="the alert at the chat")
    until(lambda: arrived("/heartbeat", "Watchdog", "firing"), what="the heartbeat")
    send("ApiDown", "critical", ended=True)
    until(lambda: arrived("/webhook", "ApiDown", "resolved"), what="the end of the alert")
    send("RedisMemoryHigh", "warning", ended=True)
    until(lambda: arrived("/slack", "RedisMemoryHigh", "resolved"), what="the end of the other alert")
    assert not any(path != "/heartbeat" and "Watchdog" in json.dumps(body) for path, body in got)
    before = next(i for i, (_path, body) in enumerate(got) if "resolved" in json.dumps(body).lower())
    assert not any("ApiErrorRatioHigh" in json.dumps(body) for _path, body in got[:before])


def test_a_refused_configuration_changes_nothing(start: Any, tmp_path: Path) -> None:
    """The container beside the server, as it is rendered: only its folders are others here."""
    golden = GOLDEN / "defaults" / "prometheus" / "deployment-prometheus.yaml"
    spec = yaml.safe_load(golden.read_text(encoding="utf-8"))["spec"]["template"]["spec"]
    (keeper,) = spec["initContainers"]
    assert spec["shareProcessNamespace"] is True
    mounted, own = tmp_path / "mounted", tmp_path / "own"
    own.mkdir()
    mounted.mkdir()
    pidfile = tmp_path / "processes"
    pidfile.mkdir()

    def mount(number: int, interval: str, rules: str) -> None:
        """Replace the files in one step, as the kubelet does."""
        folder = mounted / f"..{number}"
        folder.mkdir()
        config = f"global: {{scrape_interval: {interval}}}\nrule_files: [rules-*.yml]\n"
        (folder / "prometheus.yml").write_text(config, encoding="utf-8")
        (folder / "rules-a.yml").write_text(rules, encoding="utf-8")
        new = mounted / "..new"
        new.symlink_to(folder.name)
        new.replace(mounted / "..data")
        for name in ("prometheus.yml", "rules-a.yml"):
            if not (mounted / name).is_symlink():
                (mounted / name).symlink_to(f"..data/{name}")

    good = "groups: [{name: a, rules: [{record: a, expr: vector(1)}]}]\n"
    mount(1, "11s", good)
    # Only this test's own server may be told: the script sees this folder in the place of /proc.
    script = keeper["command"][-1].replace("/etc/twisterlab", str(mounted)).replace("/etc/prometheus", str(own))
    script = script.replace("/proc/", f"{pidfile}/").replace("sleep 5", "sleep 0.2")
    command = [*keeper["command"][:-1], script]
    first = start(*command)
    active = own / "active" / "prometheus.yml"
    until(active.is_file, what="the first configuration")
    port = free_port()
    server = start(
        program("prometheus"),
        f"--config.file={active}",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    (pidfile / str(server.pid)).symlink_to(f"/proc/{server.pid}")

    def shown() -> str:
        return fetch(f"http://127.0.0.1:{port}/api/v1/status/config")

    until(lambda: "scrape_interval: 11s" in shown(), what="the server reads it")
    mount(2, "12s", good)
    until(lambda: "scrape_interval: 12s" in shown(), what="a new configuration is read")
    for number, interval, rules in (
        (3, "a while", good),
        (4, "13s", "groups: [{name: a, rules: [{record: a, expr: sum(}]}]\n"),
    ):
        mount(number, interval, rules)
        assert first.wait(30) != 0
        # Restarted, it says so again and still changes nothing.
        assert start(*command).wait(30) != 0
        assert "scrape_interval: 12s" in active.read_text(encoding="utf-8")
        assert "scrape_interval: 12s" in shown()
        mount(number + 10, f"{number}s", good)
        first = start(*command)
        until(lambda number=number: f"scrape_interval: {number}s" in shown(), what="the mended configuration is read")
        mount(number + 20, "12s", good)
        until(lambda: "scrape_interval: 12s" in shown(), what="and the next one")
    assert server.poll() is None
    first.terminate()
    assert first.wait(20) == 0
