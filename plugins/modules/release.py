# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.release; the action plugin of the same name reads the stage and shows progress."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Apply everything that was staged, in one go
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Takes what M(twisterlab.platform.stage) staged in this run for this host and makes it true in one namespace.
  - First the server is asked, by dry runs, what every object would become. Schema errors, refusals by admission, immutable fields, missing keys of the Secret and a
    release that does not fit on the nodes end the task before anything is touched. A release that changes nothing writes nothing.
  - A new image of a tier that stops before it starts (a StatefulSet, or a Deployment of type Recreate) is first started in a throw-away pod with empty volumes.
  - Objects are applied server-side with the field manager C(twisterlab), in the order of their kinds and several at once. Components that others need are
    applied first, and waited for if this run changed them. Fields of ours that somebody else had set are taken back and listed in RV(taken); what others
    added beside ours stays.
  - Objects of ours that belong to a staged component and are no longer rendered are announced and then removed, but for volume claims, Secrets, the namespace and
    what carries the annotation C(twisterlab.io/keep=true). Components that were not staged in this run are left alone.
  - The Secret C(twisterlab-secrets) is generated, supplied or derived from what the components declared. Pods that refer to one of its keys get the annotation
    C(checksum/secret-twisterlab-secrets), so that they are restarted when that key changes.
  - While it works it holds the Lease C(twisterlab-release) of the namespace; a second release says who holds it and since when. A hold ends with its release, 60
    seconds after its last renewal, or when its process on this machine is dead.
  - When something changed or failed, the release is recorded in the ConfigMap C(twisterlab-release-<n>). The last ten are kept.
options:
  namespace:
    description: Namespace that the release goes to. It is made if it is staged and missing.
    type: str
    required: true
  supplied:
    description: Values of keys of the Secret. A supplied value always wins over a generated or a derived one.
    type: dict
    default: {}
  sizing:
    description: What to do when the release does not fit on the nodes.
    type: str
    choices: [refuse, warn, 'off']
    default: refuse
  keep_lease:
    description: Leave the hold to M(twisterlab.platform.stack_health), which ends it.
    type: bool
    default: false
  health_grace:
    description: Seconds that a pod of a data tier may be unschedulable, or its volume unbound, before the release counts as broken.
    type: float
    default: 10
  health_timeout:
    description: Seconds that the data tiers may take to become ready before the rest is applied.
    type: float
    default: 600
  smoke_timeout:
    description: Seconds that a new image may take to start in its throw-away pod, its download included.
    type: float
    default: 300
  action:
    description: What the release is for, as the record says it.
    type: str
    default: deploy
  contract:
    description:
      - Try every changed image in a throw-away pod first, also of tiers that replace their pods one by one, and ask it what the tier promises of its image, that is the
        readiness probes and the metrics.
    type: bool
    default: false
  authority_file:
    description: File on the controller to which the certificate of a private authority is written, for those who want to trust it. Used by the action plugin only.
    type: path
  staged:
    description: The components. The action plugin reads them from the run's stage.
    type: list
    elements: dict
  holder:
    description: Who releases. Set by the action plugin.
    type: dict
  progress:
    description: State of a release that goes on. Set by the action plugin.
    type: str
  give_up:
    description: A reason. Ends the hold, and records a release that had begun as failed. Set by the action plugin and by role C(release).
    type: str
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: The server is asked by dry runs. When the namespace does not exist yet, everything that is staged would be created.
    support: full
  diff_mode:
    description: One difference an object. Every value of the Secret is replaced, wherever it stands.
    support: full
  idempotent:
    support: full
  action:
    support: full
seealso:
  - module: twisterlab.platform.stage
  - module: twisterlab.platform.stack_health
"""

EXAMPLES = r"""
- name: Release what the tiers staged
  twisterlab.platform.release:
    namespace: twisterlab
    supplied: "{{ twisterlab_secrets }}"

- name: Release to the cluster of a kubeconfig, and let stack_health end the hold
  twisterlab.platform.release:
    kubeconfig: ~/clusters/production.yml
    namespace: twisterlab
    keep_lease: true
  register: released
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, what is wrong and what to do.
  returned: always
  type: str
  sample: 40 objects, 2 created, 1 changed, 0 removed
created:
  description: Objects that were (or would be) created.
  returned: success
  type: list
  elements: str
  sample: [Service/redis]
updated:
  description: Objects that were (or would be) changed.
  returned: success
  type: list
  elements: str
  sample: [Deployment/twisterlab-api]
deleted:
  description: Objects that were (or would be) removed because they are no longer rendered.
  returned: success
  type: list
  elements: str
  sample: [ConfigMap/old]
kept:
  description: Objects that are no longer rendered and protected.
  returned: success
  type: list
  elements: str
  sample: [PersistentVolumeClaim/redis-data]
restarted:
  description: Broken pods that were removed because their ordered StatefulSet would have waited for them for ever.
  returned: success
  type: list
  elements: str
  sample: [Pod/postgres-0]
taken:
  description: Fields that somebody else had set and that are ours again.
  returned: success
  type: list
  elements: str
  sample: ["Deployment/twisterlab-api: spec.template.spec.containers (conflict with \"kubectl-edit\")"]
components:
  description: The components that were released.
  returned: success
  type: list
  elements: str
  sample: [api, base, postgres, redis]
services:
  description: The Services of the release, for people who want to reach them.
  returned: success
  type: list
  elements: dict
  sample: [{name: twisterlab-api, component: api, port: 8000, port_name: http}]
generated:
  description: Names of the keys of the Secret that are generated.
  returned: success
  type: list
  elements: str
  sample: [jwt_secret_key, postgres_password]
kubectl:
  description: How kubectl reaches the namespace.
  returned: success
  type: str
  sample: kubectl --kubeconfig /home/me/production.yml -n twisterlab
release:
  description: Number of the record that the health check concludes; 0 when there is none.
  returned: success
  type: int
  sample: 7
running:
  description: Number of the record of what runs now, also when nothing had to change; 0 when there is none.
  returned: success
  type: int
  sample: 7
hosts:
  description: The public names of the release.
  returned: success
  type: list
  elements: str
  sample: [api.twisterlab.local]
authorities:
  description: The public certificate of each private authority, as PEM, by the name of its Secret.
  returned: success
  type: dict
  sample: {twisterlab-ca: "-----BEGIN CERTIFICATE-----"}
authority_file:
  description: The file that O(authority_file) names.
  returned: when there is a private authority
  type: str
  sample: /home/me/.cache/twisterlab/clusters/twisterlab/twisterlab-ca.crt
api_calls:
  description: How many requests were made.
  returned: success
  type: int
  sample: 62
api_seconds:
  description: Seconds that the requests took together; several run at once.
  returned: success
  type: float
  sample: 0.9
seconds:
  description: Seconds from the first request to the last.
  returned: success
  type: float
  sample: 0.3
"""

import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _kube, _lease, _plan, _release, _stage
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError

VERSION = "0.1.0"


def services(staged: list[_stage.Component]) -> list[dict[str, Any]]:
    """The Services of the release with their first port."""
    found = []
    for item in staged:
        for obj in item.objects:
            ports = (obj.get("spec") or {}).get("ports") or []
            if obj.get("kind") == "Service" and ports and (obj.get("spec") or {}).get("clusterIP") != "None":
                port = {"port": ports[0].get("port"), "port_name": ports[0].get("name", "")}
                found.append({"name": obj["metadata"]["name"], "component": item.component, **port})
    return found


def hosts(staged: list[_stage.Component]) -> list[str]:
    """The public names of the release, each once."""
    names = (name for item in staged for obj in item.objects for name in _plan.public_names(obj))
    return list(dict.fromkeys(names))


def main() -> None:
    """Do one step of a release."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "required": True},
            supplied={"type": "dict", "default": {}, "no_log": True},
            sizing={"type": "str", "choices": ["refuse", "warn", "off"], "default": "refuse"},
            keep_lease={"type": "bool", "default": False},
            health_grace={"type": "float", "default": 10.0},
            health_timeout={"type": "float", "default": 600.0},
            smoke_timeout={"type": "float", "default": 300.0},
            action={"type": "str", "default": "deploy"},
            contract={"type": "bool", "default": False},
            authority_file={"type": "path"},
            staged={"type": "list", "elements": "dict"},
            holder={"type": "dict"},
            progress={"type": "str"},
            give_up={"type": "str"},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    staged = [_stage.Component(**item) for item in params["staged"] or []]
    options = _release.Options(
        namespace=params["namespace"],
        supplied={str(key): str(value) for key, value in (params["supplied"] or {}).items() if value is not None},
        sizing=params["sizing"],
        check_mode=module.check_mode,
        keep_lease=params["keep_lease"],
        diff=module._diff,
        smoke_timeout=params["smoke_timeout"],
        version=VERSION,
        action=params["action"],
        contract=params["contract"],
    )
    progress = _release.unpack(params["progress"])[0] if params["progress"] else _release.Progress()
    begun = time.monotonic()
    try:
        holder = _lease.holder_from(params["holder"])
        cluster = _kube.Cluster(params)
        release = _release.Release(cluster, _kube.RealClock(), holder, staged, options, progress)
        if params["give_up"]:
            release.give_up(params["give_up"])
            module.exit_json(changed=False, msg=params["give_up"])
        answer = release.run()
    except PlatformError as error:
        module.fail_json(msg=str(error), changed=progress.touched)
    for sentence in answer.warnings:
        module.warn(sentence)
    done = answer.progress
    module.exit_json(
        changed=done.touched or (module.check_mode and bool(done.deleted)),
        msg=_release.summary(answer),
        say=answer.say,
        progress=_release.pack(done, answer.next),
        diff=answer.diff,
        created=done.created,
        updated=done.changed,
        deleted=done.deleted,
        kept=done.kept,
        restarted=done.restarted,
        taken=done.taken,
        unseen=answer.unseen,
        components=[asdict(item)["component"] for item in staged],
        services=services(staged),
        generated=sorted({str(item["name"]) for part in staged for item in part.secrets if item.get("generated")}),
        hosts=hosts(staged),
        authorities=answer.authorities,
        kubectl=_kube.kubectl(params, params["namespace"]),
        release=answer.release,
        running=answer.running,
        api_calls=cluster.calls,
        api_seconds=round(cluster.seconds, 3),
        seconds=round(time.monotonic() - begun, 3),
    )


if __name__ == "__main__":
    main()
