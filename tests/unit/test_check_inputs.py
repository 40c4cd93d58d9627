# SPDX-License-Identifier: GPL-3.0-or-later
"""What check_inputs takes two hosts of the inventory for: one cluster, or two."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.action import check_inputs
from ansible_collections.twisterlab.platform.plugins.module_utils import _specs

INPUTS = _specs.load_inputs(_specs.collection_root())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, True),
        ({"twisterlab_context": "a"}, {"twisterlab_context": "b"}, False),
        (
            {"twisterlab_kubeconfig": "~/k", "twisterlab_context": "a"},
            {"twisterlab_kubeconfig": "/home/me/./k", "twisterlab_context": "a"},
            True,
        ),
        ({"twisterlab_kubeconfig": "/k"}, {"twisterlab_kubeconfig": "/l"}, False),
        (
            {"twisterlab_cluster": "local"},
            {"twisterlab_cluster": "local", "twisterlab_local_cluster": {"name": "twisterlab"}},
            True,
        ),
        (
            {"twisterlab_cluster": "local"},
            {"twisterlab_cluster": "local", "twisterlab_local_cluster": {"name": "other"}},
            False,
        ),
        ({"twisterlab_cluster": "local"}, {"twisterlab_context": "a"}, False),
    ],
)
def test_which_hosts_are_one_cluster(
    one: dict[str, Any], other: dict[str, Any], same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    first, second = (check_inputs._identity(values, INPUTS) for values in (one, other))
    assert (first.cluster == second.cluster) is same


def test_the_domain_follows_the_namespace() -> None:
    assert check_inputs._identity({}, INPUTS).domain == "twisterlab.local"
    assert check_inputs._identity({"twisterlab_namespace": "lab"}, INPUTS).domain == "lab.local"
    assert check_inputs._identity({"twisterlab_domain": "lab.example"}, INPUTS).domain == "lab.example"


def test_values_lose_what_ansible_ties_to_them() -> None:
    class Tagged(str):
        """Stands for a text that carries where it comes from."""

    plain = check_inputs._plain({Tagged("a"): (Tagged("b"), True, 1, None)})
    assert plain == {"a": ["b", True, 1, None]}
    assert type(next(iter(plain))) is str
    assert type(plain["a"][0]) is str
    assert plain["a"][1] is True
