# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.bootstrap; the action plugin of the same name reads the stage."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bootstrap
short_description: Make a namespace ready for deploys with few rights
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Needs the rights of an administrator of the cluster, so that M(twisterlab.platform.release) does not.
  - Applies the cluster-scoped objects that the tiers of this play staged (the namespace, ClusterRoles and their bindings), then the account C(twisterlab-deployer)
    with a Role of just what a deploy needs. Cluster-scoped objects of a staged tier that are no longer rendered are removed.
  - Writes a kubeconfig with a token of that account, readable by its owner alone. The token ends by itself; it is renewed by a run after half of its life.
  - A namespace that is somebody else's is refused. One that was lent by the label C(twisterlab.io/managed=true) is used, and never relabelled.
options:
  namespace:
    description: The namespace. It is made if it is staged and missing.
    type: str
    required: true
  dest:
    description: File to which the kubeconfig is written. One that was not made by this module is refused.
    type: path
    required: true
  token_hours:
    description: How long the token lives, at least 10 minutes. The cluster may give less.
    type: float
    default: 24
  staged:
    description: The components. The action plugin reads them from the run's stage.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: The server is asked by dry runs. No token is asked for.
    support: full
  diff_mode:
    description: One difference an object. The kubeconfig is not shown.
    support: partial
  idempotent:
    description: The kubeconfig is written again when half of its token's life is over, or another life is asked for.
    support: full
  action:
    support: full
seealso:
  - module: twisterlab.platform.release
"""

EXAMPLES = r"""
- name: Make the namespace ready, once, as the cluster's administrator
  twisterlab.platform.bootstrap:
    kubeconfig: ~/clusters/admin.yml
    namespace: twisterlab
    dest: ~/clusters/deployer.yml
    token_hours: 8
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, what is wrong and what to do.
  returned: always
  type: str
  sample: "6 objects created, 0 changed, 0 removed; /home/me/deployer.yml is good until 2026-11-24 09:00 UTC"
created:
  description: Objects that were (or would be) created.
  returned: success
  type: list
  elements: str
  sample: [Role/twisterlab-deployer]
updated:
  description: Objects that were (or would be) changed.
  returned: success
  type: list
  elements: str
  sample: []
deleted:
  description: Objects that were (or would be) removed.
  returned: success
  type: list
  elements: str
  sample: []
kubeconfig:
  description: The file.
  returned: success
  type: str
  sample: /home/me/deployer.yml
written:
  description: Whether the file was (or would be) written.
  returned: success
  type: bool
  sample: true
expires:
  description: When the token ends; empty in check mode when there is none yet.
  returned: success
  type: str
  sample: "2026-11-24 09:00 UTC"
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _bootstrap, _kube, _kubeconfig, _rights, _stage
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused


def read(path: Path) -> str | None:
    """What the file holds; None when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"{path} cannot be read ({error}): set bootstrap_kubeconfig to a file of your own, or remove it."
        ) from error


def check_dest(path: Path) -> None:
    """Refuse a file that is somebody else's, before anything is touched: it would be written over.

    Raises:
        Refused: with what to write.
    """
    text = read(path)
    if text is not None and not _kubeconfig.is_ours(text):
        raise Refused(
            f"{path} was not made by playbooks/bootstrap.yml and would be written over: set bootstrap_kubeconfig to another file, or remove it."
        )


def write(path: Path, text: str) -> None:
    """Put the file in place at once, readable by its owner alone; the folder is made when it is missing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with mode 0600, so that nobody can read it for a moment.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).replace(path)
    except OSError as error:
        raise Refused(
            f"The kubeconfig {path} cannot be written ({error.strerror}): set bootstrap_kubeconfig to a place where you may write."
        ) from error


def kubeconfig(module: AnsibleModule, cluster: Any, uid: str) -> dict[str, Any]:
    """Have the file there; answers whether it was (or would be) written, and when its token ends."""
    params = module.params
    wanted = _kubeconfig.Wanted(
        _bootstrap.place(cluster.configuration), params["namespace"], _rights.ACCOUNT, uid, params["token_hours"]
    )
    path = Path(params["dest"])
    before = read(path)
    if module.check_mode:
        ends = _kubeconfig.good_until(before, wanted, cluster.now()) if before is not None else None
        written = ends is None
    else:
        text, ends = _bootstrap.renewed(cluster, before, wanted, cluster.now())
        written = text is not None
        if text is not None:
            module.no_log_values.update(_kube.secret_texts(_kubeconfig.loaded(text)))
            write(path, text)
    opened = path.is_file() and path.stat().st_mode & 0o777 != 0o600
    if opened and not module.check_mode:
        path.chmod(0o600)
    return {"written": written or opened, "expires": f"{ends:%Y-%m-%d %H:%M} UTC" if ends else ""}


def main() -> None:
    """Make the namespace ready."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "required": True},
            dest={"type": "path", "required": True},
            token_hours={"type": "float", "default": 24.0, "no_log": False},
            staged={"type": "list", "elements": "dict", "default": []},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    if params["token_hours"] * 3600 < 600:
        module.fail_json(
            msg=f"bootstrap_token_hours is {params['token_hours']:g}, and a token lives at least 10 minutes: write 0.2 or more."
        )
    try:
        check_dest(Path(params["dest"]))
        cluster = _kube.Cluster(params)
        staged = [_stage.Component(**item) for item in params["staged"]]
        done = _bootstrap.Bootstrap(cluster, params["namespace"], staged, module.check_mode).run()
        file = kubeconfig(module, cluster, done.uid)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    numbers = f"{len(done.created)} objects created, {len(done.changed)} changed, {len(done.deleted)} removed"
    state = f"is good until {file['expires']}" if file["expires"] else "would be written"
    module.exit_json(
        changed=done.touched or file["written"],
        msg=f"{numbers}; {params['dest']} {state}",
        diff=done.diff if module._diff else [],
        created=done.created,
        updated=done.changed,
        deleted=done.deleted,
        kubeconfig=params["dest"],
        **file,
    )


if __name__ == "__main__":
    main()
