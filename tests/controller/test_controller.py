# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/awx.yml against a fake controller with a memory: the tests of a controller's life, in this order."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake import Server
from support import CLUSTER_TOKEN, CREDENTIALS, NOTIFICATIONS, ROOT, TOKEN, Run


def _data(name: str) -> Any:
    return yaml.safe_load((ROOT / "awx" / f"{name}.yml").read_text(encoding="utf-8"))


TEMPLATES = [name for name in _data("job_templates")["templates"] if (ROOT / "playbooks" / f"{name}.yml").is_file()]


def _name(playbook: str) -> str:
    return f"TwisterLab {playbook.replace('_', ' ')}"


@pytest.fixture(scope="module")
def fewer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The data without a template, a schedule, two nodes and a link."""
    folder = tmp_path_factory.mktemp("data")
    templates, access, schedules, workflows = (_data(x) for x in ("job_templates", "access", "schedules", "workflows"))
    del templates["templates"]["history"]
    for grant in access["grants"]:
        if "history" in grant["templates"]:
            grant["templates"].remove("history")
    schedules["schedules"] = [item for item in schedules["schedules"] if item["template"] != "drift"]
    nodes = workflows["workflows"]["deploy"]["nodes"]
    del nodes["status"], nodes["verify"], nodes["deploy"]["success"], nodes["rollback"]["always"]
    del workflows["workflows"]["reviewed"]["nodes"]["verify"]["failure"]
    for name, data in (
        ("job_templates", templates),
        ("access", access),
        ("schedules", schedules),
        ("workflows", workflows),
    ):
        (folder / f"{name}.yml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def least(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The data of one template."""
    folder = tmp_path_factory.mktemp("least")
    templates, access = _data("job_templates"), _data("access")
    templates["templates"] = {"deploy": templates["templates"]["deploy"]}
    access |= {"teams": access["teams"][:1], "grants": []}
    none: dict[str, Any] = {"schedules": {"schedules": []}, "workflows": {"workflows": {}}}
    for name, data in ({"job_templates": templates, "access": access} | none).items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module", autouse=True)
def before(server: Server) -> None:
    """What stands there before: an organisation with a template of somebody else, and one of ours that no data has any more."""
    held = server.controller
    organization = held.add("organizations", {"name": "TwisterLab", "description": "theirs"})["id"]
    project = held.add("projects", {"name": "other", "organization": organization})["id"]
    common = {"playbook": "playbooks/status.yml", "project": project}
    held.add("job_templates", {"name": "Somebody's own", "description": "by hand", **common})
    held.add("job_templates", {"name": "TwisterLab former", "description": "Former (twisterlab.platform)", **common})


@pytest.fixture(scope="module")
def inputs(server: Server) -> dict[str, Any]:
    """Of an organisation that uses everything."""
    return {
        "awx_host": server.address,
        "awx_image": "registry.example/twisterlab/execution-environment:1",
        "awx_notifications": NOTIFICATIONS,
    }


def test_the_first_run_makes_everything(server: Server, inputs: dict[str, Any], tmp_path: Path) -> None:
    run = Run(tmp_path, "-vvv", **inputs)
    assert run.code == 0, run.raw[-4000:]
    for token in (TOKEN, CLUSTER_TOKEN):
        assert token not in run.raw
    assert run.seen_in_arguments == set()
    held = server.controller
    assert set(held.named("job_templates")) == {_name(name) for name in TEMPLATES} | {
        "Somebody's own",
        "TwisterLab former",
    }
    assert held.named("organizations")["TwisterLab"]["description"] == "theirs"
    for playbook, template in ((name, held.named("job_templates")[_name(name)]) for name in TEMPLATES):
        assert template["playbook"] == f"playbooks/{playbook}.yml"
        assert held.surveys[template["id"]] == _data("surveys")["surveys"][playbook]["spec"]
        assert held.linked(template, "credentials") == ["production"]
        assert template["execution_environment"] and template["inventory"]
    (credential,) = held.rows["credentials"].values()
    assert credential["inputs"] == CREDENTIALS[0]["inputs"]
    for kind in _data("credential_types")["credential_types"]:
        assert held.named("credential_types")[kind["name"]]["injectors"] == kind["injectors"]
    (source,) = held.rows["inventory_sources"].values()
    assert (source["source"], source["source_path"]) == ("scm", "inventories/production")


def test_workflows_are_as_drawn(server: Server) -> None:
    held = server.controller
    for spec in _data("workflows")["workflows"].values():
        workflow = held.named("workflow_job_templates")[spec["name"]]
        nodes = {
            row["identifier"]: row
            for row in held.rows["workflow_job_template_nodes"].values()
            if row["workflow_job_template"] == workflow["id"]
        }
        assert set(nodes) == set(spec["nodes"])
        for name, node in spec["nodes"].items():
            for event in ("success", "failure", "always"):
                assert held.linked(nodes[name], f"{event}_nodes") == sorted(node.get(event, [])), name
            job = held.find("unified_job_templates", nodes[name]["unified_job_template"])
            assert job["name"] == node.get("approval", _name(node.get("template", "")))
            assert nodes[name]["job_type"] == node.get("job_type")
        for event in ("success", "error", "approvals"):
            assert held.linked(workflow, f"notification_templates_{event}") == ["TwisterLab room"]


def test_schedules_and_teams_are_as_written(server: Server) -> None:
    held = server.controller
    wanted = {item["name"]: item for item in _data("schedules")["schedules"] if item["template"] in TEMPLATES}
    assert set(held.named("schedules")) == set(wanted)
    for name, schedule in held.named("schedules").items():
        assert (schedule["rrule"], schedule["enabled"]) == (wanted[name]["rrule"], wanted[name].get("enabled", True))
        template = held.find("unified_job_templates", schedule["unified_job_template"])
        assert template["name"] == _name(wanted[name]["template"])
    may = {
        playbook: held.linked(
            held.find("roles", held.named("job_templates")[_name(playbook)]["roles"]["execute"]), "teams"
        )
        for playbook in TEMPLATES
    }
    assert may["deploy"] == ["TwisterLab operators", "TwisterLab owners"]
    assert may["destroy"] == may["rotate_secrets"] == ["TwisterLab owners"]
    reviewed = held.named("workflow_job_templates")[_data("workflows")["workflows"]["reviewed"]["name"]]
    assert held.linked(held.find("roles", reviewed["roles"]["approval"]), "teams") == ["TwisterLab owners"]


def test_the_second_run_changes_nothing_and_removes_nothing(
    server: Server, inputs: dict[str, Any], tmp_path: Path
) -> None:
    held = server.controller
    before = held.state()
    held.writes.clear()
    run = Run(tmp_path, **inputs)
    assert run.code == 0, run.raw[-4000:]
    assert "changed=0" in run.text
    assert (
        "kept, though no longer in the data: job template TwisterLab former (remove it with -e awx_prune=true)"
        in run.text
    )
    assert "1 kept though" in run.text
    assert held.state() == before
    assert held.writes == []


def test_what_is_ours_and_gone_is_removed_when_asked(
    server: Server, inputs: dict[str, Any], fewer: str, tmp_path: Path
) -> None:
    held = server.controller
    run = Run(tmp_path, **inputs, awx_data=fewer, awx_prune=True)
    assert run.code == 0, run.raw[-4000:]
    removed = [line.partition("removed: ")[2] for line in run.raw.splitlines() if "removed: " in line]
    deploy, reviewed = (_data("workflows")["workflows"][key]["name"] for key in ("deploy", "reviewed"))
    assert sorted(removed) == [
        "job template TwisterLab former",
        "job template TwisterLab history",
        "schedule TwisterLab drift, every hour",
        f"workflow job template node status of {deploy}",
        f"workflow job template node verify of {deploy}",
        f"workflow job template node what follows verify of {reviewed}",
    ]
    assert set(held.named("job_templates")) == {_name(name) for name in TEMPLATES if name != "history"} | {
        "Somebody's own"
    }
    assert "0 changed, 6 removed" in run.text


def test_a_gateway_and_a_run_that_only_looks(playbooks: list[str], least: str, tmp_path: Path) -> None:
    with Server(TOKEN, "/api/controller", playbooks) as behind:
        run = Run(tmp_path, "--check", awx_host=behind.address, awx_api_path="/api/controller/v2", awx_data=least)
        assert run.code == 0, run.raw[-4000:]
        assert "would be changed: job template TwisterLab deploy" in run.text
        assert behind.controller.writes == []
        # Without the path nothing is there.
        run = Run(tmp_path, awx_host=behind.address)
        assert run.code == 2
        assert f"{behind.address} has no API at /api/v2/: set awx_api_path" in run.text


def test_errors_are_one_sentence(server: Server, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    run = Run(tmp_path, awx_host=nobody)
    assert run.code == 2
    assert f"The controller {nobody} does not answer (Connection refused): correct awx_host, or start it." in run.text
    run = Run(tmp_path, "-vvv", awx_host=server.address, token="another-token-0123456789")
    assert run.code == 2
    assert f"The controller {server.address} does not know this token: make another one" in run.text
    assert "another-token" not in run.raw
    run = Run(tmp_path, awx_host=server.address, awx_collection="ansible.controller")
    assert run.code == 2
    assert "ansible.controller is not installed: run ansible-galaxy collection install ansible.controller" in run.text
    run = Run(tmp_path, awx_host=server.address, awx_credentials=[{"name": "x", "credential_type": "Vualt"}])
    assert "awx_credentials: x has the credential_type 'Vualt'; write one of" in run.text
