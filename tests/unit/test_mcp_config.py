# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on real files: planned before written, backed up, replaced in one step, hidden in diffs, taken back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_edit_files, _mcp_edit_plan
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_server import Server
from ansible_collections.twisterlab.platform.plugins.modules import mcp_config

STDIO = {"name": "tw-mcp", "command": ["kubectl", "exec", "-i"]}
HTTP = {"name": "tw-http", "url": "https://t.local/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}
SECRET = " a b!c#d$e%f&g'h\"i\\j`k@/: "


class Failed(Exception):
    """The module ended with a failure; the text is its sentence."""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the module for real, below a home of its own."""

    def call(**params: Any) -> dict[str, Any]:
        params = {"servers": [STDIO, HTTP], "home": str(tmp_path), "os": "linux", "_ansible_diff": True} | params
        with patch_module_args(params), pytest.raises(SystemExit):
            mcp_config.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        if result.get("failed"):
            raise Failed(result["msg"])
        return result

    return call


def snapshot(home: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below the home with its bytes and mode."""
    return {
        str(path.relative_to(home)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


def without_backups(files: dict[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in files.items() if not name.endswith("~")}


def actions(result: dict[str, Any]) -> set[str]:
    return {file["action"] for file in result["files"]}


THEIRS = {
    ".claude.json": '{"numStartups": 3, "mcpServers": {}}',
    ".config/Claude/claude_desktop_config.json": '{\r\n\t"mcpServers": {\r\n\t\t"a": {"command": "x"}\r\n\t}\r\n}\r\n',
    ".config/Code/User/mcp.json": '// mine\n{\n  "inputs": [ /* none */ ],\n  "servers": {},\n}',
    ".cursor/mcp.json": "",
    ".config/zed/settings.json": '// Zed\n{\n  "theme": "One", // dark\n  "context_servers": {\n    "a": {},\n  },\n}\n',
    ".codex/config.toml": 'model = "x" # mine',
    ".gemini/settings.json": '\ufeff{\n    "a": "\u00e9"\n}',
    ".continue/config.json": '{"experimental": {}}',
    ".continue/mcpServers/tw-mcp.yaml": "name: mine # x\nversion: 1.2.3\nschema: v1\nmcpServers: # none\n",
}


def fill(home: Path) -> None:
    for name, text in THEIRS.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        path.chmod(0o640)


def test_an_empty_home_is_filled_twice_and_left_empty(tmp_path: Path, run: Any) -> None:
    first = run(clients=["all"])
    assert first["changed"]
    assert actions(first) == {"created"}
    assert {file["client"] for file in first["files"]} == set(mcp_config.CLIENTS)
    files = snapshot(tmp_path)
    assert {mode for _, mode in files.values()} == {0o600}
    again = run(clients=["all"])
    assert not again["changed"]
    assert actions(again) == {"unchanged"}
    assert again["diff"] == []
    assert snapshot(tmp_path) == files
    gone = run(clients=["all"], state="absent", servers=[{"name": "tw-mcp"}, {"name": "tw-http"}])
    assert actions(gone) == {"removed"}
    assert snapshot(tmp_path) == {}
    assert not run(clients=["all"], state="absent")["changed"]


def test_a_home_in_use_gets_its_bytes_and_modes_back(tmp_path: Path, run: Any) -> None:
    fill(tmp_path)
    before = snapshot(tmp_path)
    first = run(clients=["all"])
    there = {file["path"]: file for file in first["files"] if file["action"] == "updated"}
    assert {str(Path(path).relative_to(tmp_path)) for path in there} == set(THEIRS)
    for path, file in there.items():
        copy = Path(file["backup"])
        assert (copy.read_bytes(), stat.S_IMODE(copy.stat().st_mode)) == before[str(Path(path).relative_to(tmp_path))]
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o640
    assert not run(clients=["all"])["changed"]
    run(clients=["all"], state="absent")
    assert without_backups(snapshot(tmp_path)) == before


def test_what_a_person_changes_in_between_stays(tmp_path: Path, run: Any) -> None:
    fill(tmp_path)
    run(clients=["cline", "zed", "codex"])
    zed, codex = tmp_path / ".config/zed/settings.json", tmp_path / ".codex/config.toml"
    zed.write_text(zed.read_text().replace('"One", // dark', '"Two", // light'))
    codex.write_text(codex.read_text() + "\n[profiles.mine]\nmodel = 'y'\n")
    cline = tmp_path / ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"
    content = json.loads(cline.read_text())
    content["mcpServers"]["tw-mcp"] |= {"disabled": True, "autoApprove": ["a"], "command": "old"}
    content["mcpServers"]["theirs"] = {"command": "x"}
    cline.write_text(json.dumps(content))
    run(clients=["cline", "zed", "codex"])
    kept = json.loads(cline.read_text())["mcpServers"]["tw-mcp"]
    assert kept == {
        "type": "stdio",
        "command": "kubectl",
        "args": ["exec", "-i"],
        "disabled": True,
        "autoApprove": ["a"],
    }
    assert not run(clients=["cline", "zed", "codex"])["changed"]
    run(clients=["cline", "zed", "codex"], state="absent")
    assert json.loads(cline.read_text()) == {"mcpServers": {"theirs": {"command": "x"}}}
    assert zed.read_text() == THEIRS[".config/zed/settings.json"].replace('"One", // dark', '"Two", // light')
    assert codex.read_text() == "model = \"x\" # mine\n[profiles.mine]\nmodel = 'y'\n"


def test_other_entries_of_ours_are_left_when_one_goes(tmp_path: Path, run: Any) -> None:
    run(clients=["vscode"], servers=[STDIO])
    text = (tmp_path / ".config/Code/User/mcp.json").read_text()
    run(clients=["vscode"], servers=[HTTP])
    assert "promptString" in (tmp_path / ".config/Code/User/mcp.json").read_text()
    run(clients=["vscode"], servers=[{"name": "tw-http"}], state="absent")
    assert (tmp_path / ".config/Code/User/mcp.json").read_text() == text


def test_an_input_that_a_person_declared_stays(tmp_path: Path, run: Any) -> None:
    path = tmp_path / ".config/Code/User/mcp.json"
    path.parent.mkdir(parents=True)
    old = '{"inputs": [{"id": "TOKEN", "type": "promptString", "description": "mine"}]}'
    path.write_text(old)
    run(clients=["vscode"])
    assert path.read_text().count("promptString") == 1
    run(clients=["vscode"], state="absent")
    assert path.read_text() == old


def test_check_mode_writes_nothing_and_shows_the_same(tmp_path: Path, run: Any) -> None:
    fill(tmp_path)
    before = snapshot(tmp_path)
    checked = run(clients=["all"], _ansible_check_mode=True)
    assert snapshot(tmp_path) == before
    assert not (tmp_path / ".config/devin").exists()
    done = run(clients=["all"])
    assert checked["changed"]
    assert checked["diff"] == done["diff"]
    keys = ("client", "path", "changed", "action", "skipped")
    assert [[file[key] for key in keys] for file in checked["files"]] == [
        [file[key] for key in keys] for file in done["files"]
    ]


def test_check_mode_below_a_home_that_is_not_there(tmp_path: Path, run: Any) -> None:
    result = run(clients=["all"], home=str(tmp_path / "new"), _ansible_check_mode=True)
    assert actions(result) == {"created"}
    assert not (tmp_path / "new").exists()
    run(clients=["cursor"], home=str(tmp_path / "new"))
    assert (tmp_path / "new/.cursor/mcp.json").is_file()


def test_a_diff_shows_our_entry_and_nobodys_secret(tmp_path: Path, run: Any) -> None:
    path = tmp_path / ".cursor/mcp.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"mcpServers": {
        "theirs": {"command": "x", "env": {"K": "their-1"}},
        "tw-http": {"url": "https://u:their-2@old/", "headers": {"Authorization": "Bearer their-3", "X": "their-4"}},
        "tw-mcp": {"command": "kubectl", "args": ["exec", "--token=their-5"], "timeout": 5},
    }}))  # fmt: skip
    shown = run(clients=["cursor"])["diff"]
    assert len(shown) == 1
    assert "their" not in json.dumps(shown)
    assert shown[0]["before_header"] == f"{path} (entries of ours)"
    assert yaml.safe_load(shown[0]["before"])["tw-mcp"] == {
        "command": "kubectl", "args": ["exec", "(hidden)"], "timeout": 5,
    }  # fmt: skip
    assert yaml.safe_load(shown[0]["after"])["tw-http"] == {
        "url": "https://t.local/mcp", "headers": {"Authorization": "Bearer ${env:TOKEN}"},
    }  # fmt: skip
    gone = run(clients=["cursor"], state="absent")["diff"]
    assert set(yaml.safe_load(gone[0]["before"])) == {"tw-mcp", "tw-http"}
    assert gone[0]["after"] == ""


def test_a_diff_hides_a_secret_of_digits(tmp_path: Path, run: Any) -> None:
    path = tmp_path / ".continue/mcpServers/tw-mcp.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("mcpServers:\n  - name: tw-mcp\n    command: theirs\n    env:\n      API_KEY: 70481199\n")
    result = run(servers=[STDIO])
    assert "API_KEY" in result["diff"][0]["before"] and "70481199" not in json.dumps(result)


def test_secrets_by_value_only_when_asked_and_never_shown(tmp_path: Path, run: Any) -> None:
    run(clients=["all"], secrets={"TOKEN": SECRET})
    assert all(b"i\\\\j`k" not in content for content, _ in snapshot(tmp_path).values())
    path = tmp_path / ".cursor/mcp.json"
    path.chmod(0o644)
    result = run(clients=["all"], secrets={"TOKEN": SECRET}, inline_secrets=True)
    assert json.loads(path.read_text())["mcpServers"]["tw-http"]["headers"]["Authorization"] == f"Bearer {SECRET}"
    assert {mode for name, (_, mode) in snapshot(tmp_path).items() if not name.endswith("~")} == {0o600}
    assert "j`k" not in json.dumps(result)
    assert any("(the value of TOKEN)" in shown["after"] for shown in result["diff"])
    # Nothing refers to the secret any longer, so VS Code need not ask for it.
    assert "promptString" not in (tmp_path / ".config/Code/User/mcp.json").read_text()
    # What cannot be said by reference can be said by value.
    assert {file["client"] for file in result["files"] if file["skipped"]} == {"claude_desktop", "continue_legacy"}
    path.chmod(0o644)
    loose = run(clients=["cursor"], secrets={"TOKEN": SECRET}, inline_secrets=True)
    assert loose["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for client, name in (("codex", ".codex/config.toml"), ("continue", ".continue/mcpServers/tw-http.yaml")):
        (server,) = (one for one in read(client, tmp_path / name) if one.name == "tw-http")
        assert server.headers["Authorization"] == f"Bearer {SECRET}"


def read(client: str, path: Path) -> Any:
    from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_dialects

    return _mcp_dialects.read(client, path.read_text())


def test_a_missing_value_is_named(tmp_path: Path, run: Any) -> None:
    with pytest.raises(Failed, match="The secret TOKEN has no value here"):
        run(clients=["cursor"], inline_secrets=True)
    assert snapshot(tmp_path) == {}


def spoil(home: Path, how: str) -> str:
    """Spoil the file of Gemini, the last of all clients; gives the sentence."""
    path = home / ".gemini/settings.json"
    path.parent.mkdir()
    outside = home.parent / f"{home.name}-outside"
    outside.mkdir()
    if how == "unparsable":
        path.write_text('{"mcpServers": {')
        return "is no JSON that Gemini CLI reads: line 1, column 17"
    if how == "duplicate":
        path.write_text('{"mcpServers": {}, "mcpServers": {}}')
        return "cannot be edited safely: the key mcpServers is there more than once; mend it or move it away."
    if how == "list":
        path.write_text('{"mcpServers": []}')
        return "mcpServers is a list where a map is needed"
    if how == "folder":
        path.mkdir()
        return "is no file; move it away."
    if how == "latin1":
        path.write_bytes(b'{"a": "\xe9"}')
        return "is not UTF-8 (byte 7); save it as UTF-8."
    if how == "huge":
        with path.open("wb") as file:
            file.truncate(33 * 1024 * 1024)
        return "is larger than 32 MiB"
    if how == "symlink":
        (outside / "settings.json").write_text("{}")
        path.symlink_to(outside / "settings.json")
        return "leads out of"
    if how == "dangling":
        path.symlink_to(outside / "new.json")
        return "leads out of"
    if how == "linked folder":
        path.parent.rmdir()
        path.parent.symlink_to(outside)
        return "leads out of"
    if how == "circle":
        path.symlink_to(path)
        return "is a symlink that leads in a circle"
    path.parent.rmdir()
    path.parent.write_text("")
    return "is no folder; move it away."


SPOILT = [
    "unparsable",
    "duplicate",
    "list",
    "folder",
    "latin1",
    "huge",
    "symlink",
    "dangling",
    "linked folder",
    "circle",
    "file",
]


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_one_doubtful_file_and_none_is_written(tmp_path: Path, run: Any, how: str, state: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if state == "absent":
        run(clients=["cursor"], home=str(home))
    sentence = spoil(home, how)
    before = snapshot(home)
    if state == "absent" and how == "file":
        # A folder that cannot be there holds nothing that is to be taken out.
        assert run(clients=["all"], home=str(home), state=state)["changed"]
        return
    with pytest.raises(Failed) as error:
        run(clients=["all"], home=str(home), state=state)
    assert sentence in str(error.value)
    assert str(error.value).count("\n") == 0
    assert snapshot(home) == before


def test_a_symlink_inside_the_home_is_followed(tmp_path: Path, run: Any) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "dotfiles/mcp.json").write_text('{"a": 1}')
    (tmp_path / ".cursor").mkdir()
    link = tmp_path / ".cursor/mcp.json"
    link.symlink_to("../dotfiles/mcp.json")
    result = run(clients=["cursor"])
    assert link.is_symlink()
    assert "tw-mcp" in (tmp_path / "dotfiles/mcp.json").read_text()
    assert result["files"][0]["path"] == str(link)
    assert Path(result["files"][0]["backup"]).parent == tmp_path / "dotfiles"
    run(clients=["cursor"], state="absent")
    assert link.read_text() == '{"a": 1}'


def test_a_home_that_is_a_symlink_itself(tmp_path: Path, run: Any) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")
    run(clients=["all"], home=str(tmp_path / "home"))
    assert (tmp_path / "real/.claude.json").is_file()


def test_files_of_a_project(tmp_path: Path, run: Any) -> None:
    project = tmp_path / "project"
    project.mkdir()
    result = run(clients=["claude_code", "vscode", "claude_desktop"], project=str(project), home=str(tmp_path / "home"))
    assert sorted(snapshot(project)) == [".mcp.json", ".vscode/mcp.json"]
    assert sorted(snapshot(tmp_path / "home")) == [".config/Claude/claude_desktop_config.json"]
    assert len(result["files"]) == 3


def test_continue_reads_one_server_a_file(tmp_path: Path, run: Any) -> None:
    path = tmp_path / ".continue/mcpServers/tw-mcp.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("name: a\nversion: 1.0.0\nschema: v1\nmcpServers:\n  - name: b\n    command: c\n")
    with pytest.raises(Failed, match="it holds another server than tw-mcp, and Continue reads one server a file"):
        run()


def test_continue_without_config_yaml_is_pointed_out(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where a controller's display was imported by another test, warnings go there instead of into the result.
    warned: list[str] = []
    monkeypatch.setattr(mcp_config.AnsibleModule, "warn", lambda _module, text: warned.append(text))
    wanted = _mcp_edit_plan.Order(("continue",), (), tmp_path, "linux")
    assert not mcp_config.continue_reads_no_blocks(wanted)
    (tmp_path / ".continue").mkdir()
    (tmp_path / ".continue/config.json").write_text("{}")
    assert mcp_config.continue_reads_no_blocks(wanted)
    run()
    assert "Continue reads no YAML blocks" in warned[0]
    (tmp_path / ".continue/config.yaml").write_text("name: x\n")
    assert not mcp_config.continue_reads_no_blocks(wanted)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"servers": [STDIO, STDIO]}, "The server tw-mcp is given more than once"),
        ({"servers": [{"name": "a b", "command": ["c"]}]}, "'a b' is no name for an MCP server"),
        ({"servers": [{"name": "a"}], "state": "present"}, "needs either a command or an url"),
        ({"servers": [{"name": "a b"}], "state": "absent"}, "'a b' is no name for an MCP server"),
        ({"clients": ["emacs"]}, "value of clients must be one or more of"),
    ],
)
def test_orders_that_cannot_be_carried_out(tmp_path: Path, run: Any, params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Failed) as error:
        run(home=str(tmp_path / "new"), **params)
    assert sentence in str(error.value)
    assert not (tmp_path / "new").exists()


def test_values_that_yaml_gives_as_something_else(tmp_path: Path, run: Any) -> None:
    run(clients=["cursor"], servers=[STDIO | {"env": {"A": True, "B": 1, "C": None, "D": "x"}}])
    (server,) = read("cursor", tmp_path / ".cursor/mcp.json")
    assert server.env == {"A": "true", "B": "1", "C": "", "D": "x"}


@contextlib.contextmanager
def as_a_person() -> Iterator[Path]:
    """A home that belongs to nobody in particular, and the rights of that person alone (root may do anything)."""
    home = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(home, 65534, 65534)
            os.setegid(65534)
            os.seteuid(65534)
        yield home
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
        for path in (home, *home.iterdir()):
            path.chmod(0o700)
        shutil.rmtree(home)


def plan(home: Path, *clients: str) -> list[_mcp_edit_plan.Plan]:
    server = Server("tw-mcp", ("kubectl",))
    return _mcp_edit_plan.make(_mcp_edit_plan.Order(clients, (server,), home, "linux"))


def test_files_that_may_not_be_read_or_written() -> None:
    with as_a_person() as home:
        (home / ".claude.json").write_text("{}")
        (home / ".claude.json").chmod(0)
        with pytest.raises(
            Refused, match=r"\.claude\.json cannot be read \(Permission denied\); mend its permissions\."
        ):
            plan(home, "cursor", "claude_code")
        (home / ".cursor").mkdir()
        (home / ".cursor").chmod(0o500)
        with pytest.raises(Refused, match=r"\.cursor may not be written; mend its permissions\."):
            plan(home, "codex", "cursor")
        (home / ".codeium").mkdir()
        (home / ".codeium").chmod(0)
        if sys.version_info < (3, 14):  # which takes a folder that it may not look into for none
            with pytest.raises(
                Refused, match=r"\.codeium/windsurf cannot be read \(Permission denied\); mend its permissions\."
            ):
                plan(home, "windsurf")


def test_root_writes_for_the_owner_of_the_home() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can write for another")
    home = Path(tempfile.mkdtemp())
    try:
        os.chown(home, 65534, 65534)
        _mcp_edit_plan.carry_out(plan(home, "vscode"))
        made = [home / ".config", home / ".config/Code/User", home / ".config/Code/User/mcp.json"]
        assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(65534, 65534)}
    finally:
        shutil.rmtree(home)


def test_a_secret_that_no_header_can_carry_is_named(tmp_path: Path, run: Any) -> None:
    with pytest.raises(Failed, match="The secret TOKEN, for a header of the server tw-http, has a line break"):
        run(inline_secrets=True, secrets={"TOKEN": "t0ken\n"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("client", ["cursor", "codex", "continue"])
def test_what_a_person_wrote_under_our_name_is_in_the_copy(tmp_path: Path, run: Any, client: str) -> None:
    # The file holds nothing else, and a client's own command line writes it as we do.
    theirs = {"name": STDIO["name"], "command": ["theirs"], "env": {"PORT": "8"}}
    (made,) = run(clients=[client], servers=[theirs])["files"]
    before = Path(made["path"]).read_bytes()
    (taken,) = run(clients=[client], servers=[STDIO])["files"]
    assert Path(taken["backup"]).read_bytes() == before


def test_a_backup_belongs_to_the_owner_of_the_file() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can write for another")
    home = Path(tempfile.mkdtemp())
    try:
        (home / ".claude.json").write_text('{"a": 1}')
        for path in (home, home / ".claude.json"):
            os.chown(path, 65534, 65534)
        plans = plan(home, "claude_code")
        _mcp_edit_plan.carry_out(plans)
        about = plans[0].backup.stat() if plans[0].backup else None
        assert about and (about.st_uid, about.st_gid) == (65534, 65534)
    finally:
        shutil.rmtree(home)


def test_a_full_disk_is_said_before_anything_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".claude.json").write_text('{"a": 1}')
    plans = plan(tmp_path, "claude_code")

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_mcp_edit_files.os, "fdopen", full)
    with pytest.raises(
        Refused, match=r"\.claude\.json cannot be copied \(No space left on device\); .*before: nothing"
    ):
        _mcp_edit_plan.carry_out(plans)
    assert snapshot(tmp_path).keys() == {".claude.json"}


def test_a_file_that_another_program_changes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".claude.json").write_text("{}")
    plans = plan(tmp_path, "cursor", "claude_code", "gemini")
    (tmp_path / ".claude.json").write_text('{"new": 1}')
    with pytest.raises(Refused) as error:
        _mcp_edit_plan.carry_out(plans)
    # The table's order of clients does not matter here: the order of the plans does.
    assert str(error.value) == (
        f"{tmp_path}/.claude.json was changed by another program just now; run this again. "
        f"Written before: {tmp_path}/.cursor/mcp.json."
    )
    assert (tmp_path / ".claude.json").read_text() == '{"new": 1}'
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".claude.json.") and "~" not in path.name]


def test_backups_of_one_second_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    found = _mcp_edit_files.read(tmp_path / "a", (tmp_path,))
    assert len({_mcp_edit_files.back_up(found) for _ in range(3)}) == 3


RUNNER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_edit_files, _mcp_edit_plan
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_server import Server
order = _mcp_edit_plan.Order(
    _mcp_edit_plan.resolve_clients(["all"]), (Server(sys.argv[3], ("c",)),), Path(sys.argv[2]), "linux"
)
for _ in range(5):
    with _mcp_edit_files.alone(order.roots):
        _mcp_edit_plan.carry_out(_mcp_edit_plan.make(order))
"""


def test_runs_at_the_same_time_do_not_tear_a_file(tmp_path: Path) -> None:
    names = [f"server-{number}" for number in range(4)]
    collections = next(path for path in sys.path if path.endswith("/collections"))
    started = [
        subprocess.Popen([sys.executable, "-c", RUNNER, collections, str(tmp_path), name], stderr=subprocess.PIPE)
        for name in names
    ]
    for process in started:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error.decode()
    assert {server.name for server in read("cursor", tmp_path / ".cursor/mcp.json")} == set(names)
    assert {server.name for server in read("codex", tmp_path / ".codex/config.toml")} == set(names)


def test_a_lock_that_is_held_is_said(tmp_path: Path) -> None:
    with (
        _mcp_edit_files.alone((tmp_path,)),
        pytest.raises(Refused, match="Another run has been changing files below"),
        _mcp_edit_files.alone((tmp_path,), seconds=0.1),
    ):
        pass


def test_all_clients_in_two_seconds(tmp_path: Path, run: Any) -> None:
    fill(tmp_path)
    history = {f"/project/{number}": {"history": ["x" * 200] * 20} for number in range(200)}
    (tmp_path / ".claude.json").write_text(json.dumps({"projects": history, "mcpServers": {}}, indent=2))
    started = time.monotonic()
    run(clients=["all"])
    assert time.monotonic() - started < 2
