# SPDX-License-Identifier: GPL-3.0-or-later
"""The one Secret: kinds of keys, conversions, checksums, and hiding values."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _secrets, _vault
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from kube_fake import NAMESPACE, FakeCluster, namespace

NASTY = " a b!c#d$e%f&g'h\"i\\j`k@/: "


def choose(length: int) -> str:
    return "r" * length


def resolve(
    declarations: list[dict[str, Any]], existing: dict[str, str] | None = None, **supplied: str
) -> _secrets.Resolution:
    return _secrets.resolve(_secrets.parse(declarations), existing or {}, supplied, choose)


PASSWORD = {"name": "password", "generated": {"length": 32}}
DSN = {"name": "dsn", "derived": "postgresql://u:{password:url}@h/{{x}}"}


def test_generated_only_when_missing() -> None:
    first = resolve([PASSWORD])
    assert first.values["password"] == "r" * 32
    assert first.created == ["password", _secrets.SALT_KEY]
    again = resolve([PASSWORD], {**first.values, "password": "kept"})
    assert again.values["password"] == "kept"
    assert not again.created
    assert not again.changed


def test_supplied_always_wins_and_derived_follows() -> None:
    before = resolve([PASSWORD, DSN]).values
    found = resolve([PASSWORD, DSN], before, password=NASTY)
    assert found.values["password"] == NASTY
    assert found.values["dsn"] == "postgresql://u:%20a%20b%21c%23d%24e%25f%26g%27h%22i%5Cj%60k%40%2F%3A%20@h/{x}"
    assert found.changed == ["password", "dsn"]


def test_a_supplied_derived_key_wins_over_its_format() -> None:
    assert resolve([PASSWORD, DSN], dsn="postgresql://elsewhere").values["dsn"] == "postgresql://elsewhere"


def test_derived_keys_may_build_on_each_other_and_on_what_is_there() -> None:
    chain = [{"name": "b", "derived": "<{a}>"}, {"name": "a", "derived": "{there}"}]
    assert resolve(chain, {"there": "t"}).values["b"] == "<t>"


def test_keys_of_nobody_are_kept() -> None:
    assert resolve([PASSWORD], {"old": "o"}).values["old"] == "o"


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("{k}", "a{b}", "a{b}"),
        ("{k:url}", "a b/c", "a%20b%2Fc"),
        ("{k:quoted}", 'a"b\\c\nd', '"a\\"b\\\\c\\nd"'),
        ("{k:base64}", "ab", "YWI="),
        ("{k:sha256}", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("{{{k}}}", "v", "{v}"),
        ("user default on #{k} ~* &* +@all", "v", "user default on #v ~* &* +@all"),
    ],
)
def test_conversions(form: str, value: str, expected: str) -> None:
    assert resolve([{"name": "d", "derived": form}], {"k": value}).values["d"] == expected


@pytest.mark.parametrize(
    ("declarations", "sentence"),
    [
        ([{"name": "a b", "supplied": True}], "is no name of a key"),
        ([{"name": "a"}], "must have exactly one of"),
        ([{"name": "a", "supplied": True, "generated": {}}], "must have exactly one of"),
        ([{"name": "a", "supplied": True, "length": 3}], "unknown word length"),
        ([{"name": "a", "generated": {"length": 3}}], "needs a length from 8"),
        ([{"name": "a", "generated": {"length": "many"}}], "needs a length from 8"),
        ([{"name": "a", "derived": 5}], "needs a text as its format"),
        ([{"name": "a", "derived": "x}y"}], "has a lone '}': write }}"),
        (
            [{"name": "a", "derived": "{b:rot13}"}],
            "write {key} or {key:<conversion>} with one of base64, htpasswd, quoted, sha256, sql, url",
        ),
        ([PASSWORD, {"name": "password", "supplied": True}], "declared twice with different meanings"),
        ([{"name": "a", "derived": "{b}"}, {"name": "b", "derived": "{a}"}], "in a circle"),
        ([{"name": "a", "derived": "{nowhere}"}], "refers to nowhere, which no staged component declares"),
        ([{"name": "a", "supplied": True}], "must be supplied: write twisterlab_secrets: {a: <value>}"),
    ],
)
def test_refused(declarations: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence.replace("{", r"\{").replace("}", r"\}")):
        resolve(declarations)


def test_equal_declarations_are_one() -> None:
    assert len(_secrets.parse([PASSWORD, dict(PASSWORD), {"name": "password", "generated": 32}])) == 1


def test_checksum_sees_only_the_keys_of_the_pod_and_the_salt() -> None:
    values = {"a": "1", "b": "2", _secrets.SALT_KEY: "s"}
    base = _secrets.checksum(values, {"a"})
    assert _secrets.checksum({**values, "b": "3"}, {"a"}) == base
    assert _secrets.checksum({**values, "a": "3"}, {"a"}) != base
    assert _secrets.checksum({**values, _secrets.SALT_KEY: "t"}, {"a"}) != base
    assert _secrets.checksum({**values, "b": "3"}, {"*"}) != _secrets.checksum(values, {"*"})


def test_redactor_hides_every_form() -> None:
    redact = _secrets.redactor([NASTY, "short", "plainvalue"])
    text = f"dsn {_secrets.expand('{k:url}', {'k': NASTY})} b64 {_secrets.CONVERSIONS['base64'](NASTY)} raw {NASTY} plainvalue short"
    hidden = redact(text)
    assert NASTY not in hidden
    assert "plainvalue" not in hidden
    assert hidden == "dsn <redacted> b64 <redacted> raw <redacted> <redacted> short"
    assert _secrets.redactor([])("x") == "x"


def test_description_holds_no_value() -> None:
    text = _secrets.describe({"a": NASTY, _secrets.SALT_KEY: "salt-value"})
    assert "a: <redacted, digest " in text
    assert NASTY not in text
    assert "salt-value" not in text


def test_encode_and_decode() -> None:
    values = {"a": NASTY, "ü": "ä"}
    assert _secrets.decode(_secrets.encode(values)) == values
    assert _secrets.decode({"binary": "/////w=="}) == {}


class TestVault:
    """Writing the Secret."""

    def setup_method(self) -> None:
        self.cluster = FakeCluster()
        self.cluster.put(namespace())
        self.declarations = _secrets.parse([PASSWORD, DSN])

    def stored(self) -> dict[str, str]:
        return _secrets.decode(self.cluster.store[("Secret", NAMESPACE, "twisterlab-secrets")]["data"])

    def write(self, **supplied: str) -> _vault.Vault:
        vault = _vault.decide(self.cluster, NAMESPACE, self.declarations, supplied)
        return _vault.write(self.cluster, NAMESPACE, vault, self.declarations, supplied)

    def test_create_then_rest(self) -> None:
        self.write()
        first = self.stored()
        assert len(first["password"]) == 32
        self.cluster.calls.clear()
        self.write()
        assert self.stored() == first
        assert self.cluster.writes() == []

    def test_two_creators_agree_on_the_first_ones_values(self) -> None:
        mine = _vault.decide(self.cluster, NAMESPACE, self.declarations, {})
        self.write()
        first = self.stored()
        written = _vault.write(self.cluster, NAMESPACE, mine, self.declarations, {})
        assert self.stored() == first
        assert written.resolution.values["password"] == first["password"]

    def test_a_change_meanwhile_is_not_lost(self) -> None:
        self.write()
        mine = _vault.decide(self.cluster, NAMESPACE, self.declarations, {"password": "supplied-by-me"})
        live = self.cluster.store[("Secret", NAMESPACE, "twisterlab-secrets")]
        live["data"]["foreign"] = "Zg=="
        self.cluster.put(live)
        _vault.write(self.cluster, NAMESPACE, mine, self.declarations, {"password": "supplied-by-me"})
        assert self.stored()["foreign"] == "f"
        assert self.stored()["password"] == "supplied-by-me"

    def test_binary_values_of_others_survive(self) -> None:
        self.write()
        live = self.cluster.store[("Secret", NAMESPACE, "twisterlab-secrets")]
        live["data"]["binary"] = "/////w=="
        self.cluster.put(live)
        self.write(password="another-one")
        assert self.cluster.store[("Secret", NAMESPACE, "twisterlab-secrets")]["data"]["binary"] == "/////w=="

    def test_somebody_elses_secret_is_refused(self) -> None:
        self.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "twisterlab-secrets"}, "data": {}})
        with pytest.raises(Refused, match="is not ours"):
            self.write()

    def test_a_supplied_change_is_warned_of(self) -> None:
        self.write()
        vault = _vault.decide(self.cluster, NAMESPACE, self.declarations, {"password": "another-one"})
        assert "pods that refer to it are restarted" in vault.warnings[0]
