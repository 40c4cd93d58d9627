# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.monitoring_verify; the action plugin of the same name repeats it, a part at a time, and shows a line a check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_verify
short_description: Prove that monitoring sees, and that alerts arrive
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Asks Prometheus, Alertmanager and Grafana over the Kubernetes API's port-forward, so neither kubectl nor an ingress is needed, and judges their answers.
    Every target, rule and query of a dashboard is a check with its figure.
  - With O(synthetic_alert) an alert of its own, C(VerifyAlertRoute), is sent through the route. It has arrived when Alertmanager counted an answer of 2xx, or the
    mail server's acceptance, for every way that the receiver has. It ends at once.
  - Needs rights to read pods, Services, Deployments and the Secret C(twisterlab-secrets), and to create C(pods/portforward).
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  panels:
    description: The queries of the dashboards. Read from O(dashboards) by the action plugin.
    type: list
    elements: dict
    default: []
    suboptions:
      dashboard:
        description: Title of the dashboard.
        type: str
        required: true
      title:
        description: Title of the panel.
        type: str
        required: true
      query:
        description: Letter of the query.
        type: str
        required: true
      expression:
        description: PromQL.
        type: str
        required: true
      rare:
        description: Why there may be no series.
        type: str
        default: ''
  boards:
    description: Uid and title of every dashboard. Read from O(dashboards) by the action plugin.
    type: dict
    default: {}
  dashboards:
    description: Folder of the dashboards on the controller. Used by the action plugin only; the default is the folder of the role grafana.
    type: path
  admin_user:
    description: Account of Grafana's administrator.
    type: str
    default: admin
  warm_up:
    description: Seconds to wait for targets, rules and series that are not there yet, as after a deploy.
    type: float
    default: 120
  synthetic_alert:
    description: Whether to send an alert of its own. Never in check mode.
    type: bool
    default: true
  alert_seconds:
    description: Seconds within which it must arrive.
    type: float
    default: 60
  timeout:
    description: Seconds that one request may take.
    type: float
    default: 15
  conclude:
    description: Whether a failed check fails the task. With V(false) only RV(checks) says so.
    type: bool
    default: true
  part:
    description: What to look at; V(all) is everything. Set by the action plugin.
    type: str
    choices: [all, targets, rules, panels, usage, route, grafana]
    default: all
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: Asks everything, but sends no alert.
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: Prove that monitoring sees
  twisterlab.platform.monitoring_verify:
    namespace: twisterlab

- name: Without disturbing anybody
  twisterlab.platform.monitoring_verify:
    synthetic_alert: false
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, a sentence for everything that is wrong.
  returned: always
  type: str
  sample: "monitoring panel TwisterLab: API / Time to answer (A): there is no series: no_such_metric"
checks:
  description: Everything that was looked at.
  returned: always
  type: list
  elements: dict
  sample:
    - name: target redis-exporter 10.244.0.12:9121
      tag: monitoring
      state: ok
      seconds: 0.01
      evidence: up, read in 4 ms
"""

import base64
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _checks, _grafana, _kube, _reach, _status
from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds as kinds
from ansible_collections.twisterlab.platform.plugins.module_utils import _monitoring as monitoring
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import FAILED, SKIPPED, Check
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.twisterlab.platform.plugins.module_utils._web import Web

PAUSE = 3.0
SECRET = "twisterlab-secrets"  # noqa: S105 - the name of an object


class Verification:
    """The parts, against one namespace."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params: dict[str, Any] = module.params
        self.cluster = _kube.Cluster(self.params)
        self.namespace = str(self.params["namespace"])

    def web(self, service: str, port: int) -> Web:
        """One Service of the stack."""
        return Web(self.cluster, self.namespace, service, port, float(self.params["timeout"]))

    def runs(self, name: str) -> dict[str, Any] | None:
        """The Deployment of a tier, or None where it does not run here."""
        return self.cluster.get(kinds.DEPLOYMENT, name, self.namespace)

    def absent(self, name: str, tier: str) -> Check:
        """A tier that is not there: of no release it is switched off, of the last one somebody removed it."""
        release = _status.newest_record(self.cluster, self.namespace)
        if any(title.startswith(f"Deployment/{tier}/") for title in release.get("images") or {}):
            why = f"release {release['number']} has Deployment/{tier}, and the namespace has not; ansible-playbook deploy.yml"
            return Check(name, FAILED, why, 0.0, monitoring.TAG)
        return Check(name, SKIPPED, f"there is no {tier} in namespace {self.namespace}", 0.0, monitoring.TAG)

    def part(self, name: str) -> list[Check]:
        """One part; a tier that is not there is skipped, one that cannot be asked has failed."""
        tier = {"route": "alertmanager", "grafana": "grafana"}.get(name, "prometheus")
        begun = time.monotonic()
        try:
            if self.runs(tier) is None:
                return [self.absent(name, tier)]
            looks: dict[str, Callable[[], list[Check]]] = {
                "targets": self.targets,
                "rules": self.rules,
                "panels": self.panels,
                "usage": self.usage,
                "route": self.route,
                "grafana": self.grafana,
            }
            return looks[name]()
        except PlatformError as error:
            return [Check(name, FAILED, str(error), time.monotonic() - begun, monitoring.TAG)]

    def warm(self, look: Callable[[], list[Check]]) -> list[Check]:
        """Look until nothing failed, or the time for it is over."""
        until = time.monotonic() + float(self.params["warm_up"])
        while True:
            found = look()
            if monitoring.warmed(found) or time.monotonic() + PAUSE > until:
                return found
            time.sleep(PAUSE)

    def targets(self) -> list[Check]:
        """Who is scraped."""

        def look() -> list[Check]:
            return monitoring.targets(self.web("prometheus", 9090), self.measured())

        return self.warm(look)

    def measured(self) -> dict[str, str]:
        """IP and name of the pods of the stack that say they have metrics."""
        labels = "app.kubernetes.io/part-of=twisterlab,twisterlab.io/serving=true"
        return {
            pod["status"]["podIP"]: pod["metadata"]["name"]
            for pod in self.cluster.list(kinds.POD, self.namespace, labels)
            if (pod["metadata"].get("annotations") or {}).get("prometheus.io/scrape") == "true"
            and (pod.get("status") or {}).get("phase") == "Running"
            and not pod["metadata"].get("deletionTimestamp")
            and pod["status"].get("podIP")
        }

    def rules(self) -> list[Check]:
        """What is judged."""
        prometheus = self.web("prometheus", 9090)
        found = self.warm(lambda: monitoring.rules(prometheus))
        return found if self.runs("alertmanager") is None else [*found, *self.warm(self.sends)]

    def sends(self) -> list[Check]:
        """Whether alerts come out."""
        try:
            return [monitoring.connected(self.web("prometheus", 9090), self.web("alertmanager", 9093))]
        except PlatformError as error:
            return [Check(monitoring.CONNECTED, FAILED, str(error), 0.0, monitoring.TAG)]

    def panels(self) -> list[Check]:
        """What people see. Only a query that failed is asked again until the time to warm up is over."""
        prometheus = self.web("prometheus", 9090)
        wanted = [monitoring.Panel(**given) for given in self.params["panels"]]
        found: dict[str, Check] = {}

        def look() -> list[Check]:
            for each in wanted:
                if each.name not in found or found[each.name].state == FAILED:
                    found[each.name] = monitoring.panel(prometheus, each)
            return list(found.values())

        return self.warm(look)

    def usage(self) -> list[Check]:
        """What it costs."""
        containers = (self.runs("prometheus") or {})["spec"]["template"]["spec"]["containers"]
        limits = (containers[0].get("resources") or {}).get("limits") or {}
        prometheus = self.web("prometheus", 9090)
        return monitoring.usage(prometheus, self.namespace, str(limits.get("memory") or ""))

    def route(self) -> list[Check]:
        """Whether an alert arrives."""
        if self.module.check_mode or not self.params["synthetic_alert"]:
            return [Check("alert route", SKIPPED, "no alert is to be sent", 0.0, monitoring.TAG)]
        alertmanager = self.web("alertmanager", 9093)
        seconds = float(self.params["alert_seconds"])
        return monitoring.route(alertmanager, lambda: alertmanager.ask("/metrics").text, seconds, self.namespace)

    def grafana(self) -> list[Check]:
        """Whether people are let in and see what is provisioned."""
        secret = self.cluster.get(kinds.SECRET, SECRET, self.namespace) or {}
        value = (secret.get("data") or {}).get("grafana_admin_password", "")
        password = base64.b64decode(value).decode()
        self.module.no_log_values.add(password)
        return _grafana.verify(self.web("grafana", 3000), self.params["admin_user"], password, self.params["boards"])


def main() -> None:
    """Verify."""
    panel = {name: {"type": "str", "required": True} for name in ("dashboard", "title", "query", "expression")}
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            panels={
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**panel, "rare": {"type": "str", "default": ""}},
            },
            boards={"type": "dict", "default": {}},
            dashboards={"type": "path"},
            admin_user={"type": "str", "default": "admin"},
            warm_up={"type": "float", "default": 120.0},
            synthetic_alert={"type": "bool", "default": True},
            alert_seconds={"type": "float", "default": 60.0},
            timeout={"type": "float", "default": 15.0},
            conclude={"type": "bool", "default": True},
            part={"type": "str", "choices": ["all", *monitoring.PARTS], "default": "all"},
        ),
        supports_check_mode=True,
    )
    if _reach.IMPORT_ERROR or _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_reach.IMPORT_ERROR or _kube.IMPORT_ERROR)
    _kube.hide(module)
    try:
        verification = Verification(module)
        parts = monitoring.PARTS if module.params["part"] == "all" else (module.params["part"],)
        checks = [check.data() for part in parts for check in verification.part(part)]
    except PlatformError as error:
        module.fail_json(msg=str(error), checks=[])
    _checks.leave(module, checks)


if __name__ == "__main__":
    main()
