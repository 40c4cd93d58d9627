# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule can be read, asks for what exists, and does what its name says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import GOLDEN, ROOT, RULES, alertmanager, checked, fetch, free_port, program, until

HERE = Path(__file__).resolve().parent
TESTS = sorted(path for path in HERE.glob("*.yml") if path.name != "metrics.yml")
RUNBOOKS = ROOT / "docs" / "runbooks"
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


def test_every_metric_exists(start: Any, tmp_path: Path) -> None:
    """Recorded here, made by our sources, said by the running programs, or seen in an exporter's answer."""
    listed = _load(HERE / "metrics.yml")
    known = RECORDED | {"up"} | {name for found in listed.values() for name in found}
    for path in (ROOT / "images" / "app" / "twisterlab_app").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        known |= set(re.findall(r"(?:Counter|Gauge|Histogram)\(\s*\"(\w+)\"", text))
    (tmp_path / "empty.yml").write_text("route: {receiver: a}\nreceivers: [{name: a}]\n", encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(f"rule_files: [{RULES}/prometheus.yml]\n", encoding="utf-8")
    one, two = free_port(), free_port()
    start(
        program("prometheus"),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{one}",
    )
    start(
        *alertmanager(),
        f"--config.file={tmp_path}/empty.yml",
        f"--storage.path={tmp_path}/alerts",
        f"--web.listen-address=127.0.0.1:{two}",
        "--cluster.listen-address=",
    )
    for port in (one, two):
        text = until(lambda port=port: fetch(f"http://127.0.0.1:{port}/metrics"), what="the metrics")
        known |= set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    unknown = {
        f"{file}: {rule.get('alert') or rule['record']}: {name}"
        for file, rule in _rules()
        for name in names(rule["expr"])
        if not _exists(name, known)
    }
    assert unknown == set()


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
