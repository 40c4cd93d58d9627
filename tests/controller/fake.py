# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller's REST API with a memory, as much of it as the modules of awx.awx ask for; modelled on the schema that AWX publishes.

What AWX refuses and a mistake in our data could cause is refused too: unknown filters, names used twice, playbooks that the project lacks, surveys with a
default that is no choice, variables of an environment that may not be injected, prompts that a template does not ask for.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

ASKS = ("limit", "verbosity", "tags", "skip_tags", "job_type", "diff_mode", "variables", "credential", "inventory")
PROMPTS = {"job_type": None, "diff_mode": None, "job_tags": None, "skip_tags": None, "limit": None, "extra_data": {}}
#: The prompts of a template that its `ask_..._on_launch` of another name opens.
ASKED_BY = {"job_tags": "tags"}
EVENTS = ("started", "success", "error")

#: List: singular, fields with what they are when nobody says, foreign keys (field: list), kinds of roles, lists of others that belong to it.
TABLE: dict[str, tuple[str, dict[str, Any], dict[str, str], tuple[str, ...], tuple[str, ...]]] = {
    "organizations": ("organization", {"description": ""}, {}, ("admin", "member", "read", "execute"), ()),
    "teams": ("team", {"description": ""}, {"organization": "organizations"}, ("admin", "member", "read"), ()),
    "credential_types": (
        "credential_type",
        {"description": "", "kind": "cloud", "inputs": {}, "injectors": {}, "managed": False},
        {},
        (),
        (),
    ),
    "credentials": (
        "credential",
        {"description": "", "inputs": {}},
        {"organization": "organizations", "credential_type": "credential_types"},
        ("admin", "use", "read"),
        (),
    ),
    "execution_environments": (
        "execution_environment",
        {"description": "", "image": "", "pull": ""},
        {"organization": "organizations"},
        (),
        (),
    ),
    "notification_templates": (
        "notification_template",
        {"description": "", "notification_type": "", "notification_configuration": {}},
        {"organization": "organizations"},
        (),
        (),
    ),
    "projects": (
        "project",
        {
            **{"description": "", "scm_type": "", "scm_url": "", "scm_branch": "", "scm_clean": False},
            **{"scm_update_on_launch": False, "allow_override": False, "scm_revision": ""},
        },
        {"organization": "organizations"},
        ("admin", "use", "update", "read"),
        tuple(f"notification_templates_{event}" for event in EVENTS),
    ),
    "inventories": (
        "inventory",
        {"description": "", "kind": "", "host_filter": None, "variables": ""},
        {"organization": "organizations"},
        ("admin", "use", "adhoc", "update", "read"),
        (),
    ),
    "inventory_sources": (
        "inventory_source",
        {
            **{"description": "", "source": "", "source_path": "", "overwrite": False, "overwrite_vars": False},
            **{"update_on_launch": False, "update_cache_timeout": 0},
        },
        {"inventory": "inventories", "source_project": "projects"},
        (),
        (),
    ),
    "job_templates": (
        "job_template",
        {
            **{
                "description": "",
                "job_type": "run",
                "playbook": "",
                "survey_enabled": False,
                "limit": "",
                "extra_vars": "",
            },
            **{f"ask_{name}_on_launch": False for name in ASKS},
        },
        {"inventory": "inventories", "project": "projects", "execution_environment": "execution_environments"},
        ("admin", "execute", "read"),
        ("credentials", "labels", *(f"notification_templates_{event}" for event in EVENTS)),
    ),
    "workflow_job_templates": (
        "workflow_job_template",
        {"description": "", "ask_limit_on_launch": False, "survey_enabled": False, "extra_vars": "", "limit": None},
        {"organization": "organizations"},
        ("admin", "execute", "approval", "read"),
        tuple(f"notification_templates_{event}" for event in (*EVENTS, "approvals")),
    ),
    "workflow_job_template_nodes": (
        "workflow_job_template_node",
        {"identifier": "", **PROMPTS},
        {"workflow_job_template": "workflow_job_templates", "unified_job_template": "unified_job_templates"},
        (),
        ("success_nodes", "failure_nodes", "always_nodes", "credentials"),
    ),
    "workflow_approval_templates": ("workflow_approval_template", {"description": "", "timeout": 0}, {}, (), ()),
    "schedules": (
        "schedule",
        {"description": "", "rrule": "", "enabled": True, **PROMPTS},
        {"unified_job_template": "unified_job_templates"},
        (),
        ("credentials",),
    ),
    "project_updates": ("project_update", {"status": "successful"}, {}, (), ()),
    "roles": ("role", {"description": ""}, {}, (), ("teams", "users")),
}
UNIFIED = ("job_templates", "workflow_job_templates", "projects", "inventory_sources", "workflow_approval_templates")
FILTERS = ("name", "identifier", "id", "type", "or__id", "or__name", "page", "page_size")
QUESTIONS = {
    **dict.fromkeys(("text", "textarea", "password", "multiplechoice", "multiselect"), str),
    **{"integer": int, "float": float},
}


class Refused(Exception):
    """An answer that is none: status and body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body


class Controller:
    """What the server remembers.

    Attributes:
        writes: every request that was more than a question, as `METHOD path`.
    """

    def __init__(self, token: str, path: str, playbooks: list[str]) -> None:
        self.token, self.root, self.playbooks = token, f"{path.rstrip('/')}/v2", playbooks
        self.rows: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in TABLE}
        self.links: dict[tuple[int, str], list[int]] = {}
        self.surveys: dict[int, Any] = {}
        self.writes: list[str] = []
        self.number = 0
        self.add("credential_types", {"name": "Vault", "kind": "vault", "managed": True})

    # -- what stands where

    def add(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Make an object."""
        singular, fields, keys, roles, _links = TABLE[name]
        self.number += 1
        row = {"id": self.number, "name": "", **copy.deepcopy(fields), **dict.fromkeys(keys)}
        self._fill(name, row, given)
        self._judge(name, row)
        self.rows[name][row["id"]] = row
        row["type"] = singular
        row["roles"] = {
            role: self.add("roles", {"name": role, "description": f"{role} of {singular} {row['name']}"})["id"]
            for role in roles
        }
        if name == "projects":
            row["update"] = self.add("project_updates", {})["id"]
        return row

    def _fill(self, name: str, row: dict[str, Any], given: dict[str, Any]) -> None:
        _singular, fields, keys, _roles, _links = TABLE[name]
        for field, value in given.items():
            if field in keys and value is not None:
                self.find(keys[field], int(value))
            if field in fields or field in keys or field == "name":
                row[field] = value

    def _judge(self, name: str, row: dict[str, Any]) -> None:
        """Refuse what the controller would."""
        scope = [key for key in ("organization", "inventory", "workflow_job_template") if key in row]
        known = "identifier" if name.endswith("_nodes") else "name"
        for other in self.rows[name].values():
            same = all(other[key] == row[key] for key in (known, *scope))
            if other["id"] != row["id"] and same and name not in ("roles", "project_updates", "schedules"):
                raise Refused(400, {"__all__": [f"{name} with this name exists: {row[known]}"]})
        if name == "job_templates" and row["playbook"] not in self.playbooks:
            raise Refused(400, {"playbook": ["Playbook not found for project."]})
        if name == "credential_types":
            for variable in row["injectors"].get("env", {}):
                if variable.startswith("ANSIBLE_"):
                    raise Refused(400, {"injectors": [f"Environment variable {variable} may affect Ansible."]})
        if name == "credentials":
            fields = self.find("credential_types", row["credential_type"])["inputs"].get("fields", [])
            for key in row["inputs"]:
                if fields and key not in [item["id"] for item in fields]:
                    raise Refused(400, {"inputs": [f"'{key}' was unexpected"]})
        if name == "schedules" and not re.fullmatch(r"DTSTART;TZID=\S+:\d{8}T\d{6} RRULE:FREQ=\S+", row["rrule"]):
            raise Refused(400, {"rrule": ["not a rule with DTSTART"]})
        if name in ("schedules", "workflow_job_template_nodes") and row["unified_job_template"]:
            self._prompts(row, self.find("unified_job_templates", row["unified_job_template"]))

    def _prompts(self, row: dict[str, Any], template: dict[str, Any]) -> None:
        for field in PROMPTS:
            asked = template.get(f"ask_{ASKED_BY.get(field, field)}_on_launch")
            if field != "extra_data" and row[field] and not asked:
                raise Refused(400, {field: ["Field is not configured to prompt on launch."]})
        questions = {item["variable"] for item in (self.surveys.get(template["id"]) or {}).get("spec", [])}
        foreign = set(row["extra_data"] or {}) - questions
        if foreign:
            raise Refused(400, {"extra_data": [f"Variables {', '.join(foreign)} are not allowed on launch."]})

    def find(self, name: str, number: int) -> dict[str, Any]:
        """One object."""
        for listed in UNIFIED if name == "unified_job_templates" else (name,):
            if number in self.rows.get(listed, {}):
                return self.rows[listed][number]
        raise Refused(404, {"detail": "Not found."})

    def list(self, name: str) -> Iterator[dict[str, Any]]:
        """Every object of a list."""
        for listed in UNIFIED if name == "unified_job_templates" else (name,):
            yield from self.rows[listed].values()

    def named(self, name: str) -> dict[str, dict[str, Any]]:
        """The objects of a list by their names, for tests."""
        return {row["name"] or row.get("identifier", ""): row for row in self.rows[name].values()}

    def linked(self, row: dict[str, Any], link: str) -> list[str]:
        """The names of what is linked to an object, for tests."""
        everything = {number: item for rows in self.rows.values() for number, item in rows.items()}
        found = [everything[number] for number in self.links.get((row["id"], link), [])]
        return sorted(item["name"] or item["identifier"] for item in found)

    def state(self) -> str:
        """Everything, to be compared."""
        links = {f"{number}/{link}": ids for (number, link), ids in self.links.items() if ids}
        return json.dumps([self.rows, links, self.surveys], sort_keys=True)

    # -- as the API shows it

    def show(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        """One object, secrets hidden."""
        listed = next(key for key, entry in TABLE.items() if entry[0] == row["type"])
        shown = {key: value for key, value in copy.deepcopy(row).items() if key not in ("roles", "update")}
        url = f"{self.root}/{listed}/{row['id']}/"
        summary: dict[str, Any] = {}
        related = {link: f"{url}{link}/" for link in TABLE[listed][4]} | {"survey_spec": f"{url}survey_spec/"}
        if listed == "workflow_job_template_nodes":
            shown |= {
                link: self.links.get((row["id"], link), []) for link in TABLE[listed][4] if link.endswith("_nodes")
            }
        if listed == "job_templates":
            shown["organization"] = self.find("projects", row["project"])["organization"]
        for field, target in {**TABLE[listed][2], "organization": "organizations"}.items():
            if shown.get(field):
                other = self.find(target, shown[field])
                summary[field] = {"id": other["id"], "name": other["name"]}
                owner = next(key for key, entry in TABLE.items() if entry[0] == other["type"])
                related[field] = f"{self.root}/{owner}/{other['id']}/"
        if row["roles"]:
            summary["object_roles"] = {
                f"{role}_role": {"id": number, "name": role} for role, number in row["roles"].items()
            }
        if row.get("update"):
            summary["current_update"] = {"id": row["update"]}
        if listed == "credentials":
            fields = self.find("credential_types", row["credential_type"])["inputs"].get("fields", [])
            secret = {item["id"] for item in fields if item.get("secret")} | {"vault_password"}
            shown["inputs"] = {key: "$encrypted$" if key in secret else value for key, value in row["inputs"].items()}
        return {**shown, "url": url, "related": related, "summary_fields": summary}

    def _page(self, rows: list[dict[str, Any]], name: str, query: dict[str, str]) -> dict[str, Any]:
        size, page = int(query.get("page_size", 25)), int(query.get("page", 1))
        more = f"{self.root}/{name}/?{urlencode({**query, 'page': page + 1})}" if len(rows) > page * size else None
        chosen = rows[(page - 1) * size : page * size]
        return {"count": len(rows), "next": more, "previous": None, "results": [self.show(name, row) for row in chosen]}

    def _matches(self, row: dict[str, Any], query: dict[str, str]) -> bool:
        shown = self.show("", row)
        either = {key[4:]: value for key, value in query.items() if key.startswith("or__")}
        plain = {
            key: value
            for key, value in query.items()
            if key not in ("page", "page_size") and not key.startswith("or__")
        }
        same = all(str(shown.get(key)) == value for key, value in plain.items())
        return same and (not either or any(str(shown.get(key)) == value for key, value in either.items()))

    # -- requests

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body for one request."""
        if not path.startswith(f"{self.root}/"):
            raise Refused(404, {"detail": "Not found."})
        if method != "GET":
            self.writes.append(f"{method} {path}")
        parts = path.removeprefix(f"{self.root}/").strip("/").split("/")
        name = parts[0]
        if name not in TABLE and name != "unified_job_templates":
            raise Refused(404, {"detail": "Not found."})
        if len(parts) == 1:
            return self._list(method, name, query, body)
        row = self.find(name, int(parts[1]))
        if len(parts) == 2:
            return self._one(method, name, row, body)
        if parts[2] == "survey_spec":
            return self._survey(method, row, body)
        if parts[2] == "create_approval_template" and method == "POST":
            made = self.add("workflow_approval_templates", body)
            row["unified_job_template"] = made["id"]
            return 201, self.show("workflow_approval_templates", made)
        return self._link(method, name, row, parts[2], query, body)

    def _list(self, method: str, name: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        if method == "POST":
            return 201, self.show(name, self.add(name, body))
        allowed = {*FILTERS, "organization", *(TABLE[name][2] if name in TABLE else ())}
        for key in set(query) - allowed:
            raise Refused(400, {"detail": f"{name} has no field named '{key}'"})
        return 200, self._page([row for row in self.list(name) if self._matches(row, query)], name, query)

    def _one(self, method: str, name: str, row: dict[str, Any], body: dict[str, Any]) -> tuple[int, Any]:
        if method == "PATCH":
            changed = copy.deepcopy(row)
            self._fill(name, changed, body)
            self._judge(name, changed)
            row.update(changed)
        elif method == "DELETE":
            self._delete(name, row)
            return 204, None
        return 200, self.show(name, row)

    def _delete(self, name: str, row: dict[str, Any]) -> None:
        del self.rows[name][row["id"]]
        for ids in self.links.values():
            if row["id"] in ids:
                ids.remove(row["id"])
        for other in list(self.rows["workflow_job_template_nodes"].values()):
            if other["workflow_job_template"] == row["id"]:
                self._delete("workflow_job_template_nodes", other)
            elif other["unified_job_template"] == row["id"]:
                other["unified_job_template"] = None
        for other in [item for item in self.rows["schedules"].values() if item["unified_job_template"] == row["id"]]:
            self._delete("schedules", other)

    def _survey(self, method: str, row: dict[str, Any], body: dict[str, Any]) -> tuple[int, Any]:
        if method == "POST":
            for key in ("name", "description", "spec"):
                if key not in body:
                    raise Refused(400, {"error": f"'{key}' missing from survey spec."})
            seen = set()
            for question in body["spec"]:
                kind, default = question["type"], question.get("default")
                if kind not in QUESTIONS or question["variable"] in seen or not question["question_name"]:
                    raise Refused(400, {"error": f"{question} is no question."})
                if default not in ("", None) and type(default) is not QUESTIONS[kind]:
                    raise Refused(400, {"error": f"Default value {default} is of the wrong type, not {kind}."})
                chosen = set(filter(None, str(default).split("\n")))
                if kind in ("multiplechoice", "multiselect") and not chosen <= set(question["choices"]):
                    raise Refused(400, {"error": "Default choice must be answered from the choices listed."})
                seen.add(question["variable"])
            self.surveys[row["id"]] = body
        elif method == "DELETE":
            self.surveys.pop(row["id"], None)
        return 200, self.surveys.get(row["id"], {})

    def _link(
        self, method: str, name: str, row: dict[str, Any], link: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, Any]:
        if link not in TABLE[name][4]:
            raise Refused(404, {"detail": "Not found."})
        ids = self.links.setdefault((row["id"], link), [])
        everything = {number: item for rows in self.rows.values() for number, item in rows.items()}
        if method == "POST":
            if body["id"] not in everything:
                raise Refused(400, {"detail": "no such object"})
            if body.get("disassociate"):
                ids.remove(body["id"])
            elif body["id"] not in ids:
                ids.append(body["id"])
            return 204, None
        return 200, self._page([everything[number] for number in ids], f"{name}/{row['id']}/{link}", query)


class Server:
    """The controller on a port of 127.0.0.1, used as `with Server(...) as server`."""

    def __init__(self, token: str, path: str, playbooks: list[str]) -> None:
        controller = self.controller = Controller(token, path, playbooks)
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            """Requests of one connection."""

            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments: Any) -> None:
                """Nothing."""

            def handle_any(self) -> None:
                """Read, ask the controller, write."""
                split = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    if self.headers.get("Authorization") != f"Bearer {controller.token}":
                        raise Refused(401, {"detail": "Authentication credentials were not provided."})
                    with lock:
                        query = dict(parse_qsl(split.query, keep_blank_values=True))
                        status, body = controller.answer(self.command, split.path, query, json.loads(raw or b"{}"))
                except Refused as refused:
                    status, body = refused.status, refused.body
                text = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("X-API-Product-Name", "AWX")
                self.send_header("X-API-Product-Version", "24.6.1")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
