# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter twisterlab.platform.image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.twisterlab.platform.plugins.module_utils import _images
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError

DOCUMENTATION = r"""
name: image
short_description: The image reference of a name of the catalogue
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Looks a name up in C(images/catalogue.yml) and returns the reference that a pod uses, never a floating one.
  - Reads the catalogue and the recipes of the collection only; no registry is asked.
options:
  _input:
    description: A name of the catalogue, such as V(postgres).
    type: str
    required: true
  source:
    description: Upstream's images, or those built from C(images/).
    type: str
    choices: [registry, built]
    default: registry
  overrides:
    description: References of the user's own, by name. They win.
    type: dict
    default: {}
  registry:
    description: Where images built here are pushed to; part of their references.
    type: str
    default: ''
  mirror:
    description: A host, or host and path, in the place of the registry's host in upstream references.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: The reference of the API's image
  ansible.builtin.debug:
    msg: "{{ 'api' | twisterlab.platform.image(source='built') }}"
"""

RETURN = r"""
_value:
  description: The reference.
  type: str
  sample: twisterlab/app:2.1.0-0123456789ab
"""


def image(
    name: str,
    source: str = "registry",
    overrides: Mapping[str, object] | None = None,
    registry: str = "",
    mirror: str = "",
) -> str:
    """The reference of one image; see DOCUMENTATION."""
    try:
        return _images.resolve(str(name), str(source), overrides, str(registry or ""), str(mirror or ""))
    except BuildError as error:
        raise AnsibleFilterError(str(error)) from None


def image_available(
    name: str, source: str = "registry", overrides: Mapping[str, object] | None = None, **_rest: object
) -> bool:
    """Whether an image can be had; see image_available.yml."""
    try:
        return _images.available(str(name), str(source), overrides)
    except BuildError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"image": image, "image_available": image_available}
