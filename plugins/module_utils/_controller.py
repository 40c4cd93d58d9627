# SPDX-License-Identifier: GPL-3.0-or-later
"""What an automation controller (AWX, AAP) shall hold, made from the folder awx; and what its modules' errors mean. Pure: asks nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Ends the description of everything that is ours, so that nothing else is ever removed.
MARK = "(twisterlab.platform)"
#: Collections that have the modules, the first that is installed is used.
COLLECTIONS = ("awx.awx", "ansible.controller")
#: The list of the API in which a kind stands; what is removed first stands last.
LISTS = {
    "team": "teams",
    "credential_type": "credential_types",
    "execution_environment": "execution_environments",
    "notification_template": "notification_templates",
    "credential": "credentials",
    "project": "projects",
    "inventory": "inventories",
    "inventory_source": "inventory_sources",
    "job_template": "job_templates",
    "workflow_job_template": "workflow_job_templates",
    "schedule": "schedules",
}
NODE = "workflow_job_template_node"
#: How a job ends, and what a node may ask of its template.
EVENTS = ("success", "failure", "always")
PROMPTS = ("job_type", "diff_mode", "job_tags", "skip_tags", "limit", "extra_data")
#: How a module is told to which organisation or inventory an object belongs that is removed.
OWNERS = {"inventory_source": ("inventory", "inventory"), "schedule": ("unified_job_template", "unified_job_template")}
WITHOUT_OWNER = ("credential_type", "execution_environment")


@dataclass(frozen=True)
class Settings:
    """What differs from one controller to another.

    Attributes:
        organization: name of the organisation that holds everything.
        project_url: address of the git repository.
        project_branch: branch, tag or commit; empty for the repository's own.
        inventory_path: file or folder of the inventory in the repository.
        image: reference of the execution environment; empty for the controller's own.
        credentials: name, credential_type and inputs of each credential that every job gets.
        update_secrets: whether the secrets of credentials that exist are written again.
        notifications: name, notification_type and notification_configuration of each channel.
    """

    organization: str
    project_url: str
    project_branch: str = ""
    inventory_path: str = "inventories/production"
    image: str = ""
    credentials: tuple[Mapping[str, Any], ...] = ()
    update_secrets: bool = False
    notifications: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Thing:
    """One object of the controller, or one grant.

    Attributes:
        kind: name of the module that makes it.
        name: its name, or what tells a grant from others.
        arguments: of the module.
    """

    kind: str
    name: str
    arguments: Mapping[str, Any] = field(hash=False)

    @property
    def title(self) -> str:
        """Kind and name, for people."""
        return f"{self.kind.replace('_', ' ')} {self.name}"


def template_name(playbook: str) -> str:
    """Return the name of a playbook's template."""
    return f"TwisterLab {playbook.replace('_', ' ')}"


def things(data: Mapping[str, Any], settings: Settings, playbooks: Iterable[str]) -> list[Thing]:
    """Return everything in the order in which it is made.

    Args:
        data: the files of the folder awx, in one dict.
        settings: what is of this controller.
        playbooks: names of the playbooks that exist; templates of others are left out, and what needs them.

    Raises:
        ValueError: a sentence about something that names what is not there.
    """
    there = set(playbooks)
    templates = {name: spec for name, spec in data["templates"].items() if name in there}
    known = set(data["templates"])
    found = list(_base(data, settings))
    found += _templates(data, settings, templates)
    found += _workflows(data, settings, set(templates), known)
    found += _schedules(data, settings, set(templates), known)
    return found + list(_grants(data, settings, templates, known))


def _described(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {**spec, "description": f"{spec.get('description', '')} {MARK}".strip()}


def _base(data: Mapping[str, Any], settings: Settings) -> Iterator[Thing]:
    organization = {"organization": settings.organization}
    # It may have been there before us, and what it says of itself is its owner's.
    yield Thing("organization", settings.organization, {"name": settings.organization})
    for team in data["teams"]:
        yield Thing("team", team["name"], _described(team) | organization)
    for kind in data["credential_types"]:
        yield Thing("credential_type", kind["name"], _described(kind))
    environment = data["execution_environment"]
    if settings.image:
        yield Thing(
            "execution_environment",
            environment["name"],
            _described(environment) | organization | {"image": settings.image},
        )
    for channel in settings.notifications:
        yield Thing("notification_template", channel["name"], _described(channel) | organization)
    for credential in settings.credentials:
        _credential_type(credential, data)
        yield Thing(
            "credential",
            credential["name"],
            _described(credential) | organization | {"update_secrets": settings.update_secrets},
        )
    source = {"scm_url": settings.project_url, "scm_branch": settings.project_branch}
    project, inventory = data["project"], data["inventory"]
    yield Thing("project", project["name"], _described(project) | organization | source)
    yield Thing("inventory", inventory["name"], _described(inventory) | organization)
    of_project = {
        "inventory": inventory["name"],
        "source_project": project["name"],
        "source_path": settings.inventory_path,
    }
    inventory_source = data["inventory_source"]
    yield Thing("inventory_source", inventory_source["name"], _described(inventory_source) | organization | of_project)


def _credential_type(credential: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    names = [kind["name"] for kind in data["credential_types"]] + list(data["managed"])
    if credential.get("credential_type") not in names:
        raise ValueError(
            f"awx_credentials: {credential.get('name')} has the credential_type {credential.get('credential_type')!r}; "
            f"write one of {', '.join(names)}."
        )


def _told(settings: Settings, events: Iterable[str]) -> dict[str, list[str]]:
    names = sorted(channel["name"] for channel in settings.notifications)
    return {f"notification_templates_{event}": names if event in events else [] for event in ("success", "error")}


def _templates(data: Mapping[str, Any], settings: Settings, templates: Mapping[str, Any]) -> Iterator[Thing]:
    for playbook, spec in templates.items():
        name = template_name(playbook)
        if playbook not in data["surveys"]:
            raise ValueError(f"awx/surveys.yml has no survey of {playbook}; run: make awx")
        survey = data["surveys"][playbook]["spec"]
        arguments = {
            **data["common"],
            **spec.get("options", {}),
            **_described({"name": name, "description": spec["description"]}),
            **_told(settings, data["events"]["templates"].get(playbook, [])),
            "organization": settings.organization,
            "project": data["project"]["name"],
            "playbook": f"playbooks/{playbook}.yml",
            "inventory": data["inventory"]["name"],
            "credentials": [credential["name"] for credential in settings.credentials],
            "survey_enabled": bool(survey["spec"]),
            "survey_spec": survey,
        }
        if settings.image:
            arguments["execution_environment"] = data["execution_environment"]["name"]
        yield Thing("job_template", name, arguments)


def _exists(playbook: str, there: set[str], known: set[str], where: str) -> bool:
    if playbook not in known:
        raise ValueError(f"{where} names the template {playbook}, which awx/job_templates.yml does not have.")
    return playbook in there


def _workflows(data: Mapping[str, Any], settings: Settings, there: set[str], known: set[str]) -> Iterator[Thing]:
    for key, spec in data["workflows"].items():
        used = [node["template"] for node in spec["nodes"].values() if "template" in node]
        if not all(_exists(name, there, known, f"awx/workflows.yml: {key}") for name in used):
            continue
        approvals = settings.notifications if "approvals" in data["events"]["workflows"] else ()
        arguments = {
            **_described({"name": spec["name"], "description": spec["description"]}),
            **_told(settings, data["events"]["workflows"]),
            "notification_templates_approvals": sorted(channel["name"] for channel in approvals),
            "organization": settings.organization,
            "ask_limit_on_launch": True,
        }
        yield from _drawn(key, spec["nodes"], arguments, settings)


def _drawn(key: str, nodes: Mapping[str, Any], arguments: dict[str, Any], settings: Settings) -> Iterator[Thing]:
    """Yield a workflow with its nodes.

    An approval made with the others counts as changed in every run, and one made with its links is refused (the modules' own faults), so it is made
    before the others and linked after them.
    """
    name = arguments["name"]
    of_it = {"workflow_job_template": name, "organization": settings.organization}
    links = {node: _links(key, node, nodes) for node in nodes}
    waiting = {node: spec for node, spec in nodes.items() if "approval" in spec}
    if waiting:
        yield Thing("workflow_job_template", name, arguments)
    for node, spec in waiting.items():
        approval = {"name": spec["approval"], "timeout": spec.get("timeout", 0)}
        yield Thing(NODE, f"{node} of {name}", {"identifier": node, "approval_node": approval, **of_it})
    plain = [_node(node, spec, links[node], settings) for node, spec in nodes.items() if node not in waiting]
    yield Thing("workflow_job_template", name, {**arguments, "workflow_nodes": plain})
    for node in waiting:
        yield Thing(NODE, f"what follows {node} of {name}", {"identifier": node, **links[node], **of_it})


def _links(key: str, node: str, nodes: Mapping[str, Any]) -> dict[str, list[str]]:
    found = {}
    for event in EVENTS:
        found[f"{event}_nodes"] = list(nodes[node].get(event, []))
        for follower in found[f"{event}_nodes"]:
            if follower not in nodes:
                raise ValueError(f"awx/workflows.yml: {key}: {node} is followed by {follower}, which is no node.")
    return found


def _node(name: str, node: Mapping[str, Any], links: Mapping[str, list[str]], settings: Settings) -> dict[str, Any]:
    job = {
        "type": "job_template",
        "name": template_name(node["template"]),
        "organization": {"name": settings.organization},
    }
    related = {event: [{"identifier": follower} for follower in followers] for event, followers in links.items()}
    prompts = {key: node[key] for key in PROMPTS if key in node}
    return {"identifier": name, "unified_job_template": job, "related": related, **prompts}


def _schedules(data: Mapping[str, Any], settings: Settings, there: set[str], known: set[str]) -> Iterator[Thing]:
    for spec in data["schedules"]:
        if not _exists(spec["template"], there, known, f"awx/schedules.yml: {spec['name']}"):
            continue
        wanted = {key: value for key, value in spec.items() if key != "template"}
        arguments = {
            "enabled": True,
            "extra_data": {},
            **_described(wanted),
            "organization": settings.organization,
            "unified_job_template": template_name(spec["template"]),
        }
        yield Thing("schedule", spec["name"], arguments)


def _grants(
    data: Mapping[str, Any], settings: Settings, templates: Mapping[str, Any], known: set[str]
) -> Iterator[Thing]:
    there = set(templates)
    workflows = {
        key: spec["name"]
        for key, spec in data["workflows"].items()
        if all(node.get("template", next(iter(there), "")) in there for node in spec["nodes"].values())
    }
    for grant in data["grants"]:
        where = f"awx/access.yml: {grant['role']} of {grant['team']}"
        chosen = list(templates) if grant["templates"] == "all" else grant["templates"]
        names = [template_name(name) for name in chosen if _exists(name, there, known, where)]
        keys = list(workflows) if grant["workflows"] == "all" else grant["workflows"]
        unknown = [key for key in keys if key not in data["workflows"]]
        if unknown:
            raise ValueError(f"{where} names the workflow {unknown[0]}, which awx/workflows.yml does not have.")
        resources = {"job_templates": names, "workflows": [workflows[key] for key in keys if key in workflows]}
        arguments = {
            "team": grant["team"],
            "role": grant["role"],
            **{key: value for key, value in resources.items() if value},
        }
        yield Thing("role", f"{grant['role']} of {grant['team']}", arguments)


def surplus(
    wanted: Iterable[Thing], found: Mapping[str, Iterable[Mapping[str, Any]]], settings: Settings
) -> list[Thing]:
    """Return what is ours on the controller and in no data any more, in the order in which it can be removed.

    Args:
        wanted: everything that shall be there.
        found: the objects of each list of LISTS, as the API shows them.
        settings: what is of this controller.
    """
    kept = {(thing.kind, thing.name, _parent(thing.arguments)) for thing in wanted}
    gone = []
    for kind, listed in reversed(LISTS.items()):
        for item in found.get(listed, ()):
            summary = item.get("summary_fields") or {}
            owner = (summary.get("organization") or {}).get("name")
            if not str(item.get("description") or "").endswith(MARK) or owner not in (None, settings.organization):
                continue
            field_name, argument = OWNERS.get(kind, ("organization", "organization"))
            parent = (summary.get(field_name) or {}).get("name", "")
            if (kind, item["name"], parent if kind in OWNERS else "") in kept:
                continue
            arguments = {"name": item["name"], "state": "absent"}
            if kind not in WITHOUT_OWNER:
                arguments[argument] = parent or settings.organization
            if kind == "credential":
                arguments["credential_type"] = (summary.get("credential_type") or {}).get("name", "")
            gone.append(Thing(kind, item["name"], arguments))
    return gone


def _parent(arguments: Mapping[str, Any]) -> str:
    if "rrule" in arguments:
        return str(arguments.get("unified_job_template", ""))
    return str(arguments.get("inventory", "")) if "source_project" in arguments else ""


def surplus_nodes(
    key: str, data: Mapping[str, Any], found: Iterable[Mapping[str, Any]], settings: Settings
) -> list[Thing]:
    """Return what removes the nodes and links of a workflow that its data no longer has.

    Args:
        key: the workflow's in the data.
        data: the files of the folder awx, in one dict.
        found: the nodes of all workflows, as the API shows them.
        settings: what is of this controller.
    """
    name, nodes = data["workflows"][key]["name"], data["workflows"][key]["nodes"]
    there = {
        item["id"]: item
        for item in found
        if ((item.get("summary_fields") or {}).get("workflow_job_template") or {}).get("name") == name
    }
    gone = []
    for item in there.values():
        node = item["identifier"]
        of_it = {"identifier": node, "workflow_job_template": name, "organization": settings.organization}
        if node not in nodes:
            gone.append(Thing(NODE, f"{node} of {name}", {**of_it, "state": "absent"}))
            continue
        wanted = _links(key, node, nodes)
        # What leads to a node that goes, goes with it.
        linked = {
            event: {there[number]["identifier"] for number in item.get(event) or []} & set(nodes) for event in wanted
        }
        if any(linked[event] - set(wanted[event]) for event in wanted):
            gone.append(Thing(NODE, f"what follows {node} of {name}", {**of_it, **wanted}))
    return gone


#: The sentence for an input without which nothing can be done.
MISSING = {
    "host": "awx_host is empty: set it, or CONTROLLER_HOST, to the address of the controller, for example https://awx.example.",
    "token": "There is no token of the controller: make one (docs/awx.md) and set CONTROLLER_OAUTH_TOKEN, or awx_token from a vault.",
    "project_url": "awx_project_url is empty: set it to the address of the git repository that holds these playbooks and your inventory.",
}


def no_collection(wanted: str) -> str:
    """Return the sentence for a controller's collection that is not installed."""
    what = f"{wanted} is not installed" if wanted else f"Neither {' nor '.join(COLLECTIONS)} is installed"
    carrier = "" if wanted == COLLECTIONS[1] else ", or use the Python package ansible 12, which carries awx.awx"
    return f"{what}: run ansible-galaxy collection install {wanted or 'awx.awx:24.6.1'}{carrier}."


#: What a module says, and the sentence for it; {host}, {api} and {reason} are filled in.
_MEANINGS = (
    (
        r"HTTP 401|Failed to get token",
        "The controller {host} does not know this token: make another one (docs/awx.md) and give it in CONTROLLER_OAUTH_TOKEN.",
    ),
    (
        r"HTTP 403",
        "The user of this token may not do that on {host} ({reason}): take the token of an administrator of the organisation.",
    ),
    (
        r"certificate|secure connection",
        "The certificate of {host} is not trusted ({reason}): have this machine trust its authority, or set awx_validate_certs to false.",
    ),
    (
        r"Unable to resolve|error when trying to connect|network error",
        "The controller {host} does not answer ({reason}): correct awx_host, or start it.",
    ),
    (
        r"server error",
        "The controller {host} answers with an error of its own ({reason}): look at its logs and run this again.",
    ),
    (
        r"could not be found at|Failed to parse the response json",
        "{host} has no API at {api}: set awx_api_path, which is /api on AWX and /api/controller behind the gateway of AAP 2.5 and newer.",
    ),
)


def meaning(message: str, host: str, api: str) -> str:
    """Return one sentence for what a module of the controller said; empty when it is about an object."""
    reason = " ".join(message.split())
    for pattern, sentence in _MEANINGS:
        if re.search(pattern, reason, re.IGNORECASE):
            return sentence.format(host=host, api=api, reason=_short(reason))
    return ""


def _short(reason: str) -> str:
    """Return the cause at the end of nested errors, without the address that the sentence names anyway."""
    inner = re.search(r"(?:urlopen error |\] )([^<>\[\]]+)>?", reason)
    text = inner.group(1) if inner else reason
    return re.sub(r"\s*https?://\S+", "", text).strip(" .:>")[:200]
