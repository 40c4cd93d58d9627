# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.edge_verify; the action plugin of the same name shows a line a check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_verify
short_description: Prove that the public names are served over TLS, and only as they should be
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Reads the Ingresses or HTTPRoutes of the stack and asks every name of theirs as somebody outside does, from the machine that runs this task. The names need not be known to any DNS.
  - Checked are that the certificate is of the stack's authority (or of one that this machine trusts), what a stranger is answered, that plain HTTP leads to HTTPS with 308 (with 301 by a route), that
    browsers are told to stay there, the password of Prometheus' name, that an unknown name gets 404, that TLS below 1.2 is refused, and that a request above the limit gets 413.
  - Needs the rights to list Ingresses, Gateways and HTTPRoutes and to read the Secrets of the certificate and C(twisterlab-secrets).
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  address:
    description: Address of the ingress controller. Empty is what it wrote into the status of the Ingress or of our Gateway.
    type: str
    default: ''
  http_port:
    description: Its port of HTTP.
    type: int
    default: 80
  https_port:
    description: Its port of HTTPS.
    type: int
    default: 443
  authority_file:
    description: File with the certificate of who signs. Empty is C(ca.crt) of the Secret of the certificate or, where there is none, what this machine trusts.
    type: path
  prometheus_user:
    description: Account of Prometheus' name.
    type: str
    default: admin
  body_megabytes:
    description: Size of a request above which it is refused.
    type: int
    default: 10
  timeout_seconds:
    description: Seconds after which a request that does not end is ended. 0 is not measured, as it takes that long.
    type: int
    default: 0
  timeout:
    description: Seconds that one request may take.
    type: float
    default: 10
  conclude:
    description: Whether a failed check fails the task. With V(false) only RV(checks) says so.
    type: bool
    default: true
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: It changes nothing in any case.
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: Prove the edge
  twisterlab.platform.edge_verify:
    namespace: twisterlab

- name: Prove the edge of a local cluster with other ports
  twisterlab.platform.edge_verify:
    address: 127.0.0.1
    http_port: 8080
    https_port: 8443
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, a sentence for everything that is wrong.
  returned: always
  type: str
  sample: "edge old TLS: TLSv1.1 is accepted"
checks:
  description: Everything that was looked at.
  returned: always
  type: list
  elements: dict
  sample:
    - name: http api.twisterlab.local
      tag: edge
      state: ok
      seconds: 0.01
      evidence: 308 to https://api.twisterlab.local/health
"""

import base64
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import (
    _checks,
    _edge,
    _kube,
    _record,
    _sealed,
    _secrets,
)
from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds as kinds
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._api import known
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import Check
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused


def sites(ingresses: list[objects.Object]) -> list[_edge.Site]:
    """Every name of some Ingresses with the Service it leads to."""
    found = []
    for ingress in ingresses:
        for rule in (ingress.get("spec") or {}).get("rules") or []:
            path = ((rule.get("http") or {}).get("paths") or [{}])[0]
            service = ((path.get("backend") or {}).get("service") or {}).get("name", "")
            found.append(_edge.Site(str(rule.get("host")), str(service)))
    return found


def routed(routes: list[objects.Object]) -> list[_edge.Site]:
    """Every name of some HTTPRoutes with the Service it leads to; those that only redirect lead to none."""
    found = []
    for route in routes:
        spec = route.get("spec") or {}
        services = [backend for rule in spec.get("rules") or [] for backend in rule.get("backendRefs") or []]
        if services:
            found += [_edge.Site(str(host), str(services[0].get("name")), 301) for host in spec.get("hostnames") or []]
    return found


def published(found: list[objects.Object]) -> str:
    """The address that the controller wrote into the status of an Ingress or a Gateway."""
    for item in found:
        status = item.get("status") or {}
        for entry in (status.get("loadBalancer") or {}).get("ingress") or status.get("addresses") or []:
            address = entry.get("ip") or entry.get("hostname") or entry.get("value")
            if address:
                return str(address)
    taken = objects.title(found[0]) if found else "Gateway that the routes name"
    raise Refused(
        f"No controller has taken the {taken}, as its status has no address: "
        "look whether one serves its class, or name its address in verify_edge_address."
    )


def secret(cluster: _kube.Cluster, name: str, namespace: str) -> dict[str, str]:
    """What a Secret holds, in clear."""
    return _secrets.decode((cluster.get(kinds.SECRET, name, namespace) or {}).get("data"))


def look(module: AnsibleModule) -> list[Check]:
    """Every check; the one of an edge that is not there is skipped."""
    params: dict[str, Any] = module.params
    cluster, namespace = _kube.Cluster(params), str(params["namespace"])
    ingresses = cluster.list(kinds.INGRESS, namespace, labels=objects.OURS_SELECTOR)
    gateways = known(cluster, kinds.GATEWAY, namespace, objects.OURS_SELECTOR)
    unseen: list[str] = []
    routes = known(cluster, kinds.HTTP_ROUTE, namespace, objects.OURS_SELECTOR, unseen=unseen)
    seen = not unseen
    wanted = [kinds.INGRESS.name, *([kinds.HTTP_ROUTE.name] if seen else [])]
    gone = _record.lost(cluster, namespace, wanted, ingresses + routes)
    lost = [Check("names", _checks.FAILED, gone, 0.0, _edge.TAG)] if gone else []
    if not ingresses and not routes:
        sentence = f"there is no Ingress {'and no HTTPRoute ' if seen else ''}of the stack in namespace {namespace}"
        sentence += "" if seen else ", and HTTPRoutes may not be listed"
        return lost or [Check("names", _checks.SKIPPED, sentence, 0.0, _edge.TAG)]
    password = secret(cluster, _secrets.SECRET_NAME, namespace).get("prometheus_password", "")
    # An empty one, of a stack without Prometheus, would hide everything.
    module.no_log_values |= {password, base64.b64encode(password.encode()).decode()} if password else set()
    doors = ingresses or gateways
    # A listener of somebody's has what it has; the private authority's certificate stands in ours.
    served = _sealed.served_by(doors) or "twisterlab-tls"
    authority = secret(cluster, served, namespace).get(_sealed.AUTHORITY, "")
    if params["authority_file"]:
        authority = Path(params["authority_file"]).expanduser().read_text(encoding="utf-8")
    door = _edge.Door(
        params["address"] or published(doors),
        params["http_port"],
        params["https_port"],
        authority,
        params["timeout"],
    )
    found = sites(ingresses) + routed(routes)
    limit = params["body_megabytes"] if ingresses else 0
    account = (params["prometheus_user"], password)
    return [*lost, *_edge.verify(door, found, account, limit, params["timeout_seconds"])]


def main() -> None:
    """Verify."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            address={"type": "str", "default": ""},
            http_port={"type": "int", "default": 80},
            https_port={"type": "int", "default": 443},
            authority_file={"type": "path"},
            prometheus_user={"type": "str", "default": "admin"},
            body_megabytes={"type": "int", "default": 10},
            timeout_seconds={"type": "int", "default": 0},
            timeout={"type": "float", "default": 10.0},
            conclude={"type": "bool", "default": True},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    try:
        checks = [check.data() for check in look(module)]
    except PlatformError as error:
        checks = [check.data() for check in _edge.unreachable(str(error))]
    except OSError as error:
        module.fail_json(
            msg=f"The file {error.filename} of authority_file cannot be read: {error.strerror}.", checks=[]
        )
    _checks.leave(module, checks)


if __name__ == "__main__":
    main()
