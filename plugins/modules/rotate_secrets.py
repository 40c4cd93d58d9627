# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.rotate_secrets; the action plugin of the same name shows what was done."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rotate_secrets
short_description: Replace a password of the stack while everything works on
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - One step of C(playbooks/rotate_secrets.yml), which calls it around a release. A server takes the new password beside the old one, the release replaces the pods that
    use it, then the server refuses the old one, which is proven by an attempt.
  - What is under way stands in the Secret C(twisterlab-secrets) and its annotation C(twisterlab.io/rotation), so a run that was cut off is continued by the next.
  - Postgres has two login roles that take turns, members of the owner of the data; Redis has two passwords meanwhile; the key of signatures and the token of MCP
    are accepted beside the new ones until the next rotation or O(phase=end_overlap).
  - Needs the rights to get and update the Secret C(twisterlab-secrets), to list and patch pods, and to create C(pods/exec) and C(pods/portforward).
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  phase:
    description:
      - V(plan) answers the keys in order; V(begin) has a new value accepted and writes it; V(finish) has the old one refused; V(end_overlap) makes the newest value of every
        overlapping key the only one.
    type: str
    choices: [plan, begin, finish, end_overlap]
    required: true
  key:
    description: The key of V(begin) and V(finish).
    type: str
    default: ''
  keys:
    description: The keys that V(plan) is to take; empty is all.
    type: list
    elements: str
    default: []
  supplied:
    description: New values by key, in the place of random ones.
    type: dict
    default: {}
  postgres_user:
    description: The role that owns the data.
    type: str
    default: twisterlab
  grafana_user:
    description: Account of Grafana's administrator.
    type: str
    default: admin
  timeout:
    description: Seconds that one step of a server may take.
    type: float
    default: 120
  holder:
    description: Who rotates. Set by the action plugin.
    type: dict
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: Only says what it would rotate.
    support: full
  diff_mode:
    support: none
  idempotent:
    description: Every rotation makes new values; a step that was done is not repeated.
    support: partial
  action:
    support: full
"""

EXAMPLES = r"""
- name: Ask what can be rotated
  twisterlab.platform.rotate_secrets:
    phase: plan
  register: rotation

- name: Let Postgres take a new password beside the old one
  twisterlab.platform.rotate_secrets:
    phase: begin
    key: postgres_password
"""

RETURN = r"""
msg:
  description: What was done, or why not.
  returned: always
  type: str
  sample: "postgres_password: twisterlab_a logs in, twisterlab is refused with the old password"
todo:
  description: The keys to rotate, in order.
  returned: with O(phase=plan)
  type: list
  elements: str
  sample: [postgres_password, redis_password]
left:
  description: Why other keys are left as they are.
  returned: with O(phase=plan)
  type: dict
  sample: {grafana_admin_password: the stack has no such password}
"""

import datetime
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds as kinds
from ansible_collections.twisterlab.platform.plugins.module_utils import (
    _kube,
    _lease,
    _mcp_stream,
    _reach,
    _rotation,
    _secrets,
)
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.twisterlab.platform.plugins.module_utils._web import Web

STEP_SECONDS = 20.0
#: By its Service: the primary, where there are several.
_POSTGRES = "service/postgres"
#: What must run so that a password can be changed in it.
_SERVERS = {
    "postgres_password": (kinds.SERVICE, "postgres"),
    "postgres_exporter_password": (kinds.SERVICE, "postgres"),
    "redis_password": (kinds.DEPLOYMENT, "redis"),
    "grafana_admin_password": (kinds.DEPLOYMENT, "grafana"),
}
_SHOW_DIGEST = 'sha256sum < "$1"'


class Servers:
    """The ways to who keeps a password."""

    def __init__(self, params: dict[str, Any], cluster: _kube.Cluster, check: Callable[[], None]) -> None:
        self._params = params
        self._check = check
        self._cluster = cluster
        self._namespace = str(params["namespace"])

    def away(self) -> list[str]:
        """Keys of servers that do not run here: one that was switched off has left its key, and its volume the password."""
        return [key for key, (kind, name) in _SERVERS.items() if self._cluster.get(kind, name, self._namespace) is None]

    def of(self, key: str) -> _rotation.Server:
        """Who keeps a key's value."""
        if key == "postgres_password":
            return _rotation.Postgres(
                lambda *given: self._shell(_POSTGRES, *given), self._probes_know, self._params["postgres_user"]
            )
        if key == "postgres_exporter_password":
            return _rotation.Helper(lambda *given: self._shell(_POSTGRES, *given), "twisterlab_exporter", key)
        if key == "backup_postgres_password" and self._received(key):
            return _rotation.Helper(lambda *given: self._shell(_POSTGRES, *given), "twisterlab_backup", key)
        if key == "redis_password":
            return _rotation.Redis(
                lambda *given: self._shell("deployment/redis", *given),
                lambda *given: self._settled("deployment/redis", *given),
            )
        if key == "grafana_admin_password":
            web = Web(self._cluster, self._namespace, "grafana", 3000, STEP_SECONDS)
            return _rotation.Grafana(web.ask, self._params["grafana_user"])
        return _rotation.Nobody()

    def _probes_know(self, file: str, text: str) -> None:
        """Wait until the pod's file holds a text; the instances of a Cluster have no such file, as their probes log in by the socket."""
        if self._cluster.get(kinds.STATEFUL_SET, "postgres", self._namespace) is not None:
            self._settled(_POSTGRES, file, text)

    def _received(self, key: str) -> bool:
        """Whether the receiver of the backups still logs in: one that was switched off has left its key."""
        found = self._cluster.get(kinds.DEPLOYMENT, "backup", self._namespace)
        return key in objects.secret_keys(objects.pod_spec(found or {}), _secrets.SECRET_NAME)

    def drained(self) -> None:
        """Wait until no pod is on its way out: it serves to its end, with the old password."""
        until = time.monotonic() + float(self._params["timeout"])
        while True:
            self._check()
            pods = self._cluster.list(kinds.POD, self._namespace, f"{objects.PART_OF}={objects.OURS[objects.PART_OF]}")
            leaving = [objects.name(pod) for pod in pods if objects.meta(pod).get("deletionTimestamp")]
            if not leaving:
                return
            if time.monotonic() > until:
                raise PlatformError(
                    f"{', '.join(leaving)} should be gone and still run: look why, and run the same command again."
                )
            time.sleep(1)

    def _shell(self, workload: str, script: str, arguments: list[str], text: str) -> tuple[bool, str]:
        self._check()
        where = _mcp_stream.Target(self._namespace, workload, "", ("sh", "-c", script, "sh", *arguments))
        good, out, words = _mcp_stream.run(self._cluster, where, STEP_SECONDS, text)
        return good, out if good else f"{out}{words}"

    def _settled(self, workload: str, file: str, text: str) -> None:
        """Wait until a running pod's file holds a text, which the kubelet brings at once when the pod changes."""
        pod = _reach.pods(self._cluster, self._namespace, workload)[0]["metadata"]["name"]
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        note = {"metadata": {"annotations": {"twisterlab.io/rotated": now}}}
        self._cluster.merge(kinds.POD, pod, self._namespace, note)
        digest = hashlib.sha256(text.encode()).hexdigest()
        until = time.monotonic() + float(self._params["timeout"])
        while not self._shell(workload, _SHOW_DIGEST, [file], "")[1].startswith(digest):
            if time.monotonic() > until:
                raise PlatformError(
                    f"{file} of {workload} still has the old value: run the same command again, it goes on."
                )
            time.sleep(1)


def step(module: AnsibleModule) -> dict[str, Any]:
    """One phase."""
    params = module.params
    cluster = _kube.Cluster(params)
    supplied = {key: str(value) for key, value in params["supplied"].items() if value not in (None, "")}
    holder = _lease.holder_from(params["holder"])

    def check() -> None:
        _lease.must_live(holder)

    book = _rotation.Book(cluster, params["namespace"], check)
    hidden = (*_secrets.confidential(book.values), *supplied.values())
    module.no_log_values |= {value for value in hidden if len(value) > 5}
    phase, key = params["phase"], params["key"]
    servers = Servers(params, cluster, check)
    if phase == "plan":
        todo, left, resumed = _rotation.plan(book, params["keys"], supplied, module.check_mode, servers.away())
        words = ("goes on with " if resumed else "rotates ") + (", ".join(todo) or "nothing")
        words += "".join(f"; {name} is left: {why}" for name, why in left.items())
        return {"changed": False, "msg": words, "todo": todo, "left": left}
    if phase == "end_overlap":
        late = _rotation.end_overlap(book, module.check_mode)
        valid = "would be" if module.check_mode else "is"
        return {
            "changed": bool(late),
            "msg": f"from the next release on only the newest {valid} valid: {', '.join(late) or 'all are'}",
        }
    if module.check_mode:
        return {"changed": True, "msg": f"would {phase} {key}"}
    server = servers.of(key)
    if phase == "begin":
        choose = _secrets.random_text(secrets.choice)
        return {"changed": True, "msg": _rotation.begin(book, key, supplied, choose, server)}
    servers.drained()
    return {"changed": True, "msg": _rotation.finish(book, key, server)}


def main() -> None:
    """Take one step of a rotation."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            phase={"type": "str", "choices": ["plan", "begin", "finish", "end_overlap"], "required": True},
            key={"type": "str", "default": "", "no_log": False},
            keys={"type": "list", "elements": "str", "default": [], "no_log": False},
            supplied={"type": "dict", "default": {}, "no_log": True},
            postgres_user={"type": "str", "default": "twisterlab"},
            grafana_user={"type": "str", "default": "admin"},
            timeout={"type": "float", "default": 120.0},
            holder={"type": "dict"},
        ),
        supports_check_mode=True,
    )
    if _mcp_stream.IMPORT_ERROR or _kube.IMPORT_ERROR:
        module.fail_json(
            msg=missing_required_lib("kubernetes"), exception=_mcp_stream.IMPORT_ERROR or _kube.IMPORT_ERROR
        )
    _kube.hide(module)
    try:
        result = step(module)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
