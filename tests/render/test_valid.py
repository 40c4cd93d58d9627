# SPDX-License-Identifier: GPL-3.0-or-later
"""Every valid fixture renders, fits the API's schemas and the Pod Security Standard, and equals its golden files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as manifests
from ansible_collections.twisterlab.platform.plugins.module_utils import _quantity, _stage
from rendering import HERE

GOLDEN = HERE / "golden"
FIXTURES = sorted(yaml.safe_load((HERE / "valid" / "hosts.yml").read_text(encoding="utf-8"))["clusters"]["hosts"])
VERSIONS = ["1.34", "1.35", "1.36", "1.37"]


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.yaml"))}


def _objects(folder: Path) -> list[dict[str, Any]]:
    return [document for text in _files(folder).values() for document in yaml.safe_load_all(text)]


def _pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name, the metadata and the spec of every pod template."""
    for item in objects:
        template = manifests.template(item)
        if template is not None:
            yield f"{item['kind']}/{item['metadata']['name']}", template["metadata"], template["spec"]


@pytest.fixture(params=FIXTURES)
def objects(request: pytest.FixtureRequest, rendered: Path) -> list[dict[str, Any]]:
    return _objects(rendered / request.param)


@pytest.mark.parametrize("name", FIXTURES)
def test_equals_the_golden_files(name: str, rendered: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        shutil.copytree(rendered / name, GOLDEN / name)
    assert _files(rendered / name) == _files(GOLDEN / name), (
        "if the change is meant: make golden, and read the difference"
    )


def test_no_golden_files_without_a_fixture(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        for path in GOLDEN.iterdir():
            if path.name not in FIXTURES:
                shutil.rmtree(path)
        return
    assert sorted(path.name for path in GOLDEN.iterdir()) == FIXTURES


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["defaults", "changed"])
def test_fits_the_schema_of_the_api(version: str, name: str, rendered: Path) -> None:
    for item in _objects(rendered / name):
        # Kinds of cert-manager are not the API's own.
        if not item["apiVersion"].startswith("cert-manager.io/"):
            kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("name", ["gateway", "shared_gateway"])
def test_fits_the_schema_of_the_gateway_api(name: str, rendered: Path) -> None:
    """No key that it does not know, no value that it does not take; what it says in its own language, a cluster judges (molecule/gateway)."""
    schemas = json.loads((HERE / "schemas" / "gateway-api-v1.4.0.json").read_text(encoding="utf-8"))
    found = [item for item in _objects(rendered / name) if item["apiVersion"] == "gateway.networking.k8s.io/v1"]
    assert found
    for item in found:
        jsonschema.validate(item, schemas[item["kind"]])
        wrong = {**item, "spec": {**item["spec"], "hostNames": []}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schemas[item["kind"]])


def test_fits_the_schema_of_cloudnativepg(rendered: Path) -> None:
    """The operator's own judgement of it: molecule/cloudnativepg."""
    schemas = json.loads((HERE / "schemas" / "cloudnative-pg-v1.30.0.json").read_text(encoding="utf-8"))
    (cluster,) = [item for item in _objects(rendered / "cloudnativepg") if item["kind"] == "Cluster"]
    jsonschema.validate(cluster, schemas["Cluster"])
    for wrong in ({"instance": 3}, {"instances": "3"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**cluster, "spec": {**cluster["spec"], **wrong}}, schemas["Cluster"])


def test_prometheus_has_no_name_where_nobody_asks_for_its_password(rendered: Path) -> None:
    found = _objects(rendered / "gateway")
    assert ("Service", "prometheus") in {(item["kind"], item["metadata"]["name"]) for item in found}
    assert "Ingress" not in {item["kind"] for item in found}
    routes = [item["spec"] for item in found if item["kind"] == "HTTPRoute"]
    assert {name for spec in routes for name in spec["hostnames"]} == {
        f"{name}.gateway.local" for name in ("api", "grafana", "mcp-orchestrator", "mcp-monitoring")
    }
    assert not [spec for spec in routes if "prometheus" in json.dumps(spec)]


def test_an_alert_on_an_absent_series_is_about_what_is_scraped(rendered: Path) -> None:
    for folder in sorted(rendered.glob("*/prometheus")):
        text = (folder / "configmap-prometheus-config.yaml").read_text(encoding="utf-8")
        rules = [value for name, value in yaml.safe_load(text)["data"].items() if name.startswith("rules-")]
        asked = set(re.findall(r'absent\(up\{job="([^"]+)"\}\)', "".join(rules)))
        scraped = {
            metadata["labels"]["app.kubernetes.io/name"]
            for _name, metadata, _spec in _pods(_objects(folder.parent))
            if (metadata.get("annotations") or {}).get("prometheus.io/scrape") == "true"
        }
        assert asked <= scraped, folder


def test_every_route_is_of_one_listener_and_http_only_leads_away(rendered: Path) -> None:
    found = _objects(rendered / "gateway")
    (gateway,) = [item for item in found if item["kind"] == "Gateway"]
    protocols = {item["name"]: item["protocol"] for item in gateway["spec"]["listeners"]}
    for spec in (item["spec"] for item in found if item["kind"] == "HTTPRoute"):
        (parent,), (rule,) = spec["parentRefs"], spec["rules"]
        plain = protocols[parent["sectionName"]] == "HTTP"
        assert [item["type"] for item in rule["filters"]] == ["RequestRedirect" if plain else "ResponseHeaderModifier"]
        assert ("backendRefs" in rule) is not plain


@pytest.mark.parametrize(("name", "off"), [("defaults", []), ("changed", ["mcp-monitoring"]), ("external", [])])
def test_an_agent_that_is_switched_off_is_not_called_inactive(name: str, off: list[str], rendered: Path) -> None:
    text = (rendered / name / "prometheus" / "configmap-prometheus-config.yaml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(yaml.safe_load(text)["data"]["prometheus.yml"])["scrape_configs"]
    (job,) = [item for item in jobs if item["job_name"] == "pods"]
    dropped = [
        agent
        for agent in ("mcp-orchestrator", "mcp-monitoring", "crm")
        for rule in job.get("metric_relabel_configs", [])
        if re.fullmatch(rule["regex"], f"twisterlab_agent_active;{agent}") and rule["action"] == "drop"
    ]
    assert dropped == off


def test_pods_are_restricted(objects: list[dict[str, Any]]) -> None:
    """What the standard asks for and the house rules add."""
    for name, _metadata, spec in _pods(objects):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert {security["runAsUser"], security["runAsGroup"], security["fsGroup"]} == {10001}, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["serviceAccountName"] != "default", name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= {
                "emptyDir",
                "persistentVolumeClaim",
                "secret",
                "configMap",
                "projected",
            }, name
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            inner = container["securityContext"]
            assert inner["allowPrivilegeEscalation"] is False, name
            assert inner["privileged"] is False, name
            assert inner["readOnlyRootFilesystem"] is True, name
            assert inner["capabilities"] == {"drop": ["ALL"]}, name


def test_only_what_asks_the_api_server_has_a_token(objects: list[dict[str, Any]]) -> None:
    """A short-lived one, in the one container that uses it."""
    bound = {
        subject["name"]
        for item in objects
        if item["kind"] in ("RoleBinding", "ClusterRoleBinding")
        for subject in item["subjects"]
    }
    for item in objects:
        if item["kind"] == "ServiceAccount":
            assert item["automountServiceAccountToken"] is False, item["metadata"]["name"]
    for name, _metadata, spec in _pods(objects):
        tokens = {
            volume["name"]
            for volume in spec.get("volumes", [])
            if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
        }
        holders = [
            container["name"]
            for container in manifests.containers(spec)
            if tokens & {mount["name"] for mount in container.get("volumeMounts", [])}
        ]
        assert len(tokens) == len(holders) == (spec["serviceAccountName"] in bound), name


def test_containers_are_complete(objects: list[dict[str, Any]]) -> None:
    for name, _metadata, spec in _pods(objects):
        assert spec["terminationGracePeriodSeconds"] > 0, name
        for container in spec["containers"]:
            if not name.startswith(("Job/", "CronJob/")):
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name
            resources = container["resources"]
            assert {"cpu", "memory", "ephemeral-storage"} <= set(resources["requests"]), name
            assert {"memory", "ephemeral-storage"} <= set(resources["limits"]), name
            assert re.search(r":[^/:]+$", container["image"]), name
            assert not container["image"].endswith(":latest"), name
            names = [variable["name"] for variable in container.get("env", [])]
            assert len(names) == len(set(names)), name


def test_selectors_find_their_pods_and_no_others(objects: list[dict[str, Any]]) -> None:
    pods = {name: metadata["labels"] for name, metadata, _spec in _pods(objects)}
    ports = {
        name: {port["name"] for container in spec["containers"] for port in container.get("ports", [])}
        for name, _metadata, spec in _pods(objects)
    }

    def found(selector: dict[str, str]) -> list[str]:
        return [name for name, labels in pods.items() if selector.items() <= labels.items()]

    for item in objects:
        name = item["metadata"]["name"]
        if item["kind"] == "Service":
            assert item["spec"]["type"] == "ClusterIP"
            if "cnpg.io/cluster" in item["spec"]["selector"]:
                # Its pods are made by the operator.
                continue
            assert item["spec"]["selector"]["twisterlab.io/serving"] == "true"
            (target,) = found(item["spec"]["selector"])
            assert {port["targetPort"] for port in item["spec"]["ports"]} <= ports[target]
        elif item["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            (target,) = found(item["spec"]["selector"]["matchLabels"])
            assert target.endswith(f"/{name}")
        elif item["kind"] == "HorizontalPodAutoscaler":
            assert f"Deployment/{item['spec']['scaleTargetRef']['name']}" in pods


def test_accounts_and_claims_exist(objects: list[dict[str, Any]]) -> None:
    there = {(item["kind"], item["metadata"]["name"]) for item in objects}
    for name, _metadata, spec in _pods(objects):
        assert ("ServiceAccount", spec["serviceAccountName"]) in there, name
        for volume in spec.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, name


def test_everything_is_ours_and_in_the_namespace(objects: list[dict[str, Any]]) -> None:
    (namespace,) = [item["metadata"]["name"] for item in objects if item["kind"] == "Namespace"]
    for item in objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "twisterlab"
        assert labels["app.kubernetes.io/managed-by"] == "twisterlab.platform"
        assert labels["app.kubernetes.io/instance"] == namespace
        if item["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            # Two stacks on one cluster.
            assert item["metadata"]["name"].startswith(f"{namespace}-")
        else:
            assert item["kind"] == "Namespace" or item["metadata"]["namespace"] == namespace
        assert item["kind"] != "Secret"


def test_no_secret_is_rendered(objects: list[dict[str, Any]], rendered: Path) -> None:
    for name, _metadata, spec in _pods(objects):
        for container in spec["containers"]:
            for variable in container.get("env", []):
                assert not _stage.looks_secret(variable["name"], variable.get("value")), f"{name} {variable['name']}"
    assert not [path for path in rendered.rglob("*.yaml") if "never shown" in path.read_text(encoding="utf-8")]


def test_the_requests_fit_a_small_node(rendered: Path) -> None:
    """Two processors, of which the cluster's own add-ons take one."""
    replicas = {"Deployment/twisterlab-api": 2}
    cpu = memory = 0.0
    for name, _metadata, spec in _pods(_objects(rendered / "defaults")):
        # What runs for a few seconds at night may wait for room.
        for container in [] if name.startswith("CronJob/") else spec["containers"]:
            requests = container["resources"]["requests"]
            cpu += float(_quantity.parse(requests["cpu"])) * replicas.get(name, 1)
            memory += float(_quantity.parse(requests["memory"])) * replicas.get(name, 1)
    assert cpu <= 0.6
    assert memory <= 1.5 * 2**30


def test_fixed_names_and_ports(rendered: Path) -> None:
    """What users' scripts and dashboards rely on."""
    services = {
        item["metadata"]["name"]: {port["port"] for port in item["spec"]["ports"]}
        for item in _objects(rendered / "changed") + _objects(rendered / "defaults")
        if item["kind"] == "Service"
    }
    assert services == {
        "postgres": {5432},
        "postgres-headless": {5432},
        "redis": {6379},
        "redis-exporter": {9121},
        "twisterlab-api": {8000},
        "mcp-orchestrator": {8080},
        "mcp-monitoring": {8082},
        "postgres-exporter": {9187},
        "kube-state-metrics": {8080},
        "alertmanager": {9093},
        "prometheus": {9090},
        "grafana": {3000},
        "backup": {9188},
    }
    (api,) = [
        item
        for item in _objects(rendered / "defaults")
        if item["kind"] == "Deployment" and item["metadata"]["name"] == "twisterlab-api"
    ]
    assert "replicas" not in api["spec"]
    assert api["spec"]["template"]["spec"]["containers"][0]["name"] == "api"
    (hpa,) = [item for item in _objects(rendered / "defaults") if item["kind"] == "HorizontalPodAutoscaler"]
    assert hpa["metadata"]["name"] == "twisterlab-api-hpa"
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 10)
    targets = {
        metric["resource"]["name"]: metric["resource"]["target"]["averageUtilization"]
        for metric in hpa["spec"]["metrics"]
    }
    assert targets == {"cpu": 70, "memory": 80}


def test_the_namespace_enforces_the_standard(objects: list[dict[str, Any]]) -> None:
    (namespace,) = [item for item in objects if item["kind"] == "Namespace"]
    labels = namespace["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert re.fullmatch(r"v1\.\d+", labels[f"pod-security.kubernetes.io/{mode}-version"])


def test_a_null_removes_what_is_derived(rendered: Path) -> None:
    found = {(item["kind"], item["metadata"]["name"]): item for item in _objects(rendered / "changed")}
    for name, gone in (("twisterlab-api", {"SECRET_KEY", "POSTGRES_USER"}), ("grafana", {"GF_NEWS_NEWS_FEED_ENABLED"})):
        (container,) = found["Deployment", name]["spec"]["template"]["spec"]["containers"]
        assert not gone & {variable["name"] for variable in container["env"]}
    annotations = found["Ingress", "twisterlab-ingress"]["metadata"]["annotations"]
    assert "nginx.ingress.kubernetes.io/proxy-send-timeout" not in annotations


def test_disabled_tiers_render_nothing(rendered: Path) -> None:
    assert sorted(path.name for path in (rendered / "external").iterdir()) == [
        "alertmanager",
        "api",
        "backup",
        "base",
        "ingress",
        "kube-state-metrics",
        "mcp-monitoring",
        "mcp-orchestrator",
        "network-policies",
        "prometheus",
    ]
    assert sorted(path.name for path in (rendered / "data_only").iterdir()) == [
        "base",
        "network-policies",
        "postgres",
        "redis",
    ]


def test_a_tier_whose_image_cannot_be_had_renders_nothing_and_nothing_asks_for_it(rendered: Path) -> None:
    assert (rendered / "defaults" / "grafana").is_dir()
    # Images are built there, and nothing builds Grafana.
    assert not (rendered / "external" / "grafana").exists()
    (config,) = [item for item in _objects(rendered / "external" / "prometheus") if item["kind"] == "ConfigMap"]
    assert "rules-grafana.yml" not in config["data"]
    assert "rules-alertmanager.yml" in config["data"]


def test_the_application_knows_how_long_it_may_drain(objects: list[dict[str, Any]]) -> None:
    """Else `drain_seconds` would only keep the kubelet waiting, and requests end with the application's own limit."""
    for title, _metadata, spec in _pods(objects):
        if title not in ("Deployment/twisterlab-api", "Deployment/mcp-orchestrator", "Deployment/mcp-monitoring"):
            continue
        container = spec["containers"][0]
        env = {item["name"]: item.get("value") for item in container["env"]}
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = spec["terminationGracePeriodSeconds"] - pause
        assert int(env["LAME_DUCK_SECONDS"]) + int(env["GRACEFUL_TIMEOUT_SECONDS"]) == drain - 3, title
