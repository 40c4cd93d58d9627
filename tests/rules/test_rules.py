# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule can be read, asks for what exists, and does what its name says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import GOLDEN, ROOT, RULES, alertmanager, checked, fetch, free_port, program, running, until

HERE = Path(__file__).resolve().parent
TESTS = sorted(path for path in HERE.glob("*.yml") if path.name != "metrics.yml")
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARDS = ROOT / "roles" / "grafana" / "files" / "dashboards"
RUNBOOKS_URL = "https://github.com/twisterlab/platform/blob/main/docs/runbooks"
SUFFIXES = ("_bucket", "_count", "_sum", "_total")


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _rules() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(RULES.glob("*.yml")):
        for group in _load(path)["groups"]:
            for rule in group["rules"]:
                yield path.stem, rule


ALERTS = {rule["alert"]: rule for _file, rule in _rules() if "alert" in rule}
RECORDED = {rule["record"] for _file, rule in _rules() if "record" in rule}


def names(expression: str) -> set[str]:
    """Return the metrics that an expression asks for."""
    text = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", "", expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    words = re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])", text)
    keywords = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "inf", "nan"}
    return {word for word in words if word.lower() not in keywords}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up == 0", {"up"}),
        ('sum by (job, le) (rate(a_total{job="b", x=~"c|d"}[5m])) / on (job) a:b:c > 0.05', {"a_total", "a:b:c"}),
        ("time() - max(x_seconds) > 26 * 3600 or absent(y) unless on (pod) z{q='w'}", {"x_seconds", "y", "z"}),
        ("histogram_quantile(0.95, sum by (le) (b_bucket))", {"b_bucket"}),
    ],
)
def test_the_names_in_an_expression(expression: str, expected: set[str]) -> None:
    assert names(expression) == expected


def jobs_scraped() -> set[str]:
    """Return the jobs that the rendered configuration makes: the annotated pods' names, and the fixed ones."""
    found = set()
    for path in sorted((GOLDEN / "defaults").rglob("*.yaml")):
        for item in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            metadata = ((item.get("spec") or {}).get("template") or {}).get("metadata") or {}
            if (metadata.get("annotations") or {}).get("prometheus.io/scrape") == "true":
                found.add(metadata["labels"]["app.kubernetes.io/name"])
    config = yaml.safe_load(
        _load(GOLDEN / "defaults" / "prometheus" / "configmap-prometheus-config.yaml")["data"]["prometheus.yml"]
    )
    return found | {scrape["job_name"] for scrape in config["scrape_configs"]} - {"pods"}


def test_promtool_reads_every_file() -> None:
    checked(program("promtool"), "check", "rules", *map(str, sorted(RULES.glob("*.yml"))))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_are_silent(path: Path) -> None:
    checked(program("promtool"), "test", "rules", str(path))


def test_every_file_of_rules_has_its_tests() -> None:
    assert [path.stem for path in TESTS] == sorted(path.stem for path in RULES.glob("*.yml"))


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_is_tested_both_ways(alert: str) -> None:
    seen = set()
    for path in TESTS:
        for case in _load(path)["tests"]:
            for check in case["promql_expr_test"]:
                if re.search(rf'alertname="{alert}"', check["expr"]):
                    seen.add("fires" if check["exp_samples"] else "silent")
    assert seen == ({"fires"} if alert == "Watchdog" else {"fires", "silent"})


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_says_what_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "none")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS_URL}/{alert}.md"
    page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    assert re.findall(r"^#+ (.+)$", page, re.MULTILINE) == [alert, "Meaning", "First three commands", "Mend"]
    (commands,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    assert len(commands.strip().splitlines()) == 3


def test_no_page_without_its_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)


def test_every_job_is_scraped() -> None:
    jobs = jobs_scraped()
    for file, rule in _rules():
        for operator, job in re.findall(r"\bjob(=~|=)\"([^\"]+)\"", rule["expr"]):
            matched = {name for name in jobs if (re.fullmatch(job, name) if operator == "=~" else job == name)}
            assert matched, (
                f"{file}: {rule.get('alert') or rule['record']} asks for the job {job}, which nothing scrapes"
            )


def _exists(name: str, known: set[str]) -> bool:
    return name in known or any(name.endswith(end) and name.removesuffix(end) in known for end in SUFFIXES)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every metric there is: recorded here, made by our sources, said by the running programs, or an exporter's."""
    folder = tmp_path_factory.mktemp("known")
    found = RECORDED | {"up", "ALERTS"} | {name for listed in _load(HERE / "metrics.yml").values() for name in listed}
    for path in (ROOT / "images" / "app" / "twisterlab_app").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"(?:Counter|Gauge|Histogram)\(\s*\"(\w+)\"", text))
    (folder / "empty.yml").write_text("route: {receiver: a}\nreceivers: [{name: a}]\n", encoding="utf-8")
    one, two = free_port(), free_port()
    # Some metrics exist only with a group of rules, or after the first sample.
    own = f"rule_files: [{RULES}/prometheus.yml]\nscrape_configs:\n  - job_name: self\n    scrape_interval: 1s\n"
    own += f"    static_configs: [{{targets: ['127.0.0.1:{one}']}}]\n"
    (folder / "prometheus.yml").write_text(own, encoding="utf-8")
    commands = [
        [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{one}",
        ],
        [
            *alertmanager(),
            f"--config.file={folder}/empty.yml",
            f"--storage.path={folder}/alerts",
            f"--web.listen-address=127.0.0.1:{two}",
            "--cluster.listen-address=",
        ],
    ]
    with running(folder) as start:
        for command in commands:
            start(*command)
        up = f"http://127.0.0.1:{one}/api/v1/query?query=up"
        until(lambda: '"1"' in fetch(up), what="the first sample")
        for port in (one, two):
            text = until(lambda port=port: fetch(f"http://127.0.0.1:{port}/metrics"), what="the metrics")
            found |= set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    return found


def test_every_metric_of_the_rules_exists(known: set[str]) -> None:
    unknown = {
        f"{file}: {rule.get('alert') or rule['record']}: {name}"
        for file, rule in _rules()
        for name in names(rule["expr"])
        if not _exists(name, known)
    }
    assert unknown == set()


def _panels() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the dashboard, the panel's title and the panel."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            yield path.stem, panel["title"], panel


def _expressions() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every expression of the dashboards."""
    for board, title, panel in _panels():
        for target in panel["targets"]:
            yield f"{board}: {title}: {target['expr']}", target["expr"]


def test_every_metric_and_job_of_the_dashboards_exists(known: set[str]) -> None:
    jobs = jobs_scraped()
    wrong = []
    for place, expression in _expressions():
        wrong += [f"{place} has no metric {name}" for name in names(expression) if not _exists(name, known)]
        for job in re.findall(r"\bjob=~?\"([^\"]+)\"", expression):
            wrong += [] if any(re.fullmatch(job, name) for name in jobs) else [f"{place} has no job {job}"]
    assert wrong == []


def test_every_expression_of_the_dashboards_parses(tmp_path: Path) -> None:
    """Promtool reads each as a rule of its own."""
    rules = [
        {"name": place, "rules": [{"record": "a", "expr": expression}]}
        for place, expression in dict(_expressions()).items()
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": rules}), encoding="utf-8")
    checked(program("promtool"), "check", "rules", "--lint=none", str(tmp_path / "rules.yml"))


def test_dashboards_are_complete() -> None:
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))]
    assert {board["uid"] for board in boards} == {f"twisterlab-{path.stem}" for path in DASHBOARDS.glob("*.json")}
    for board in boards:
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
            assert panel.get("description", "Rare: it is empty at times because so").startswith("Rare: ")


def test_what_the_kubelets_say_is_kept() -> None:
    """The scrape keeps a few series of the kubelets: those that rules ask for must be among them."""
    config = yaml.safe_load(
        _load(GOLDEN / "defaults" / "prometheus" / "configmap-prometheus-config.yaml")["data"]["prometheus.yml"]
    )
    listed = _load(HERE / "metrics.yml")
    for scrape in config["scrape_configs"]:
        if scrape["job_name"] in ("kubelet", "cadvisor"):
            (kept,) = [
                item["regex"] for item in scrape["metric_relabel_configs"] if item["source_labels"] == ["__name__"]
            ]
            assert not [name for name in listed[scrape["job_name"]] if not re.fullmatch(kept, name)]
