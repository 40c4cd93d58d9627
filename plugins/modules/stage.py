# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of twisterlab.platform.stage; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage
short_description: Render a tier's manifests for the release that follows
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Renders templates of the calling role with the task's variables, parses them, refuses what must not be released and keeps the result in the run's private
    temporary folder, one file a component. M(twisterlab.platform.release) of the same run reads it there. Nothing is kept in facts.
  - Refused, each in a sentence that names template and object, are a Secret, text that is no YAML, a key written twice, an object without our labels or with
    another component's, an object or a selector written twice in the run, and a public environment variable that looks like a secret.
  - C(trim_blocks) and C(lstrip_blocks) are on, so a block tag leaves no blank line and may be indented.
options:
  component:
    description: Name of the component, the value of the label C(app.kubernetes.io/component) of everything in O(templates).
    type: str
    required: true
  enabled:
    description: With V(false) the component is staged empty, so that the release removes what it had.
    type: bool
    default: true
  templates:
    description:
      - Names of templates in the C(templates) folder of the calling role, in the order of reading. Each renders one or more objects, or nothing.
      - A name that the role does not have is looked for in the role C(twisterlab), whose templates are shared.
    type: list
    elements: str
    default: []
  values:
    description: Variables for the templates beside the task's own, such as those that a shared template shows.
    type: dict
    default: {}
  secrets:
    description:
      - Declarations of keys of the one Secret C(twisterlab-secrets). They hold no values. Equal declarations of several components are one.
      - "C({name, generated: {length: 32}}) is made of random letters and digits if the key is missing."
      - "C({name, derived: <format>}) is put together anew at each release: C({key}) is another key's value, C({key:url}), C({key:quoted}), C({key:base64}),
        C({key:sha256}) and C({key:htpasswd}) are its conversions, C({{) and C(}}) are braces."
      - "C({name, supplied: true}) must be given by O(twisterlab.platform.release#module:supplied) or be in the Secret already."
    type: list
    elements: dict
    default: []
  sealed:
    description:
      - Declarations of Secrets beside C(twisterlab-secrets), for those who take a Secret of their own form. They hold no values.
      - "C({name, data: {key: <format>}}) is filled from the keys of C(twisterlab-secrets)."
      - "C({name, certificate: {authority, domain, hosts, days, renew_percent}}) holds a certificate for C(hosts), signed by a private authority for C(domain) whose key
        stands in the Secret C(authority). Both are kept while they fit; the certificate is made anew when C(renew_percent) of its C(days) are left."
      - "C({name, former: authority}) held a certificate of a private authority and is filled by somebody else now: C(ca.crt) is taken out where it is still that authority's."
      - "C({name, existing: [<key>]}) is somebody else's and must be there with these keys."
    type: list
    elements: dict
    default: []
  needs:
    description:
      - Components that must be ready before this one's pods can be. Written on its workloads as the annotation C(twisterlab.io/needs).
      - A crash of its pods counts only when these were ready; a component that needs nothing and is needed by others is released before them.
    type: list
    elements: str
    default: []
  dest:
    description: A folder. The objects are written there as YAML files, C(<component>/<kind>-<name>.yaml), and nothing is staged.
    type: path
attributes:
  check_mode:
    description: Stages in check mode as it does otherwise; with O(dest) it then writes nothing.
    support: full
  diff_mode:
    description: The release shows the differences.
    support: none
  idempotent:
    description: Never reports a change, but for files written to O(dest).
    support: full
notes:
  - Runs on the controller and never talks to a cluster.
seealso:
  - module: twisterlab.platform.release
"""

EXAMPLES = r"""
- name: Stage the API
  twisterlab.platform.stage:
    component: api
    enabled: "{{ twisterlab_api_enabled | bool }}"
    templates: [service.yml.j2, deployment.yml.j2, horizontalpodautoscaler.yml.j2]
    values:
      autoscaler:
        deployment: twisterlab-api
        labels: "{{ __api_labels }}"
        replicas_min: 2
        replicas_max: 10
        cpu_percent: 70
        memory_percent: 80
        scale_down_seconds: 300
    needs: [postgres, redis]
    secrets:
      - name: jwt_secret_key
        generated:
          length: 64
      - name: redis_url
        derived: redis://:{redis_password:url}@redis:6379/0

- name: Write the API's manifests for a review
  twisterlab.platform.stage:
    component: api
    templates: [service.yml.j2, deployment.yml.j2]
    dest: build/render
"""

RETURN = r"""
component:
  description: The component.
  returned: success
  type: str
  sample: api
objects:
  description: What was rendered.
  returned: success
  type: list
  elements: str
  sample: [Service/twisterlab-api, Deployment/twisterlab-api]
dest:
  description: The folder written to.
  returned: when O(dest) is given
  type: str
  sample: /work/build/render/api
msg:
  description: A summary or, with a failure, what is wrong, where, and what to write instead.
  returned: always
  type: str
  sample: "api: 5 objects"
"""
