# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes, their hashes, and the engine's decisions. Nothing is built here."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _build, _toolchain
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError, lock, run, seconds, tail
from ansible_collections.twisterlab.platform.plugins.module_utils._recipe import IMAGES, Recipes


def write(folder: Path, name: str, text: str, **files: str) -> None:
    """Lay out images/<name> with a recipe and files."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "recipe.yml").write_text(text, encoding="utf-8")
    for file, content in files.items():
        (folder / name / file.replace("__", ".")).write_text(content, encoding="utf-8")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two recipes: a base and what stands on it."""
    write(
        tmp_path,
        "base",
        "version: '1'\nrootfs: {suite: trixie, packages: [python3]}\nimage: {}\n",
        Dockerfile="FROM scratch\n",
    )
    write(tmp_path, "app", "version: '2'\nimage: {base: base}\n", Dockerfile="ARG BASE\nFROM ${BASE}\n", main__py="x\n")
    return tmp_path


def test_every_recipe_of_the_collection_is_understood() -> None:
    recipes = Recipes()
    assert {"app", "kube", "node", "traefik"} <= set(recipes.names())
    for name in recipes.names():
        recipe = recipes.get(name)
        if "image" in recipe.data:
            assert recipes.reference(name).startswith(f"twisterlab/{name}:{recipe.version}-")
            assert (recipe.folder / "Dockerfile").is_file()
        assert recipes.order([name])[-1] == name


def test_go_modules_are_pinned() -> None:
    recipes = Recipes()
    for name in recipes.names():
        part = recipes.get(name).part("go")
        if part:
            folder = IMAGES / name / part.get("module", ".")
            assert (folder / "go.sum").is_file()
            for patch in part.get("patched") or []:
                assert patch["sum"].startswith("h1:")
                assert f"=> ./{patch['into']}" in (folder / "go.mod").read_text(encoding="utf-8")


def test_a_hash_follows_every_input(images: Path) -> None:
    before = Recipes(images)
    kept = {name: before.reference(name) for name in ("base", "app")}
    assert kept == {name: Recipes(images).reference(name) for name in kept}
    (images / "app" / "main.py").write_text("y\n", encoding="utf-8")
    after = Recipes(images)
    assert after.reference("app") != kept["app"]
    assert after.reference("base") == kept["base"]
    (images / "base" / "Dockerfile").write_text("FROM scratch\nUSER 1\n", encoding="utf-8")
    assert Recipes(images).reference("app") != after.reference("app")


def test_documentation_and_tests_are_no_inputs(images: Path) -> None:
    before = Recipes(images).reference("app")
    write(images, "app", (images / "app" / "recipe.yml").read_text(encoding="utf-8"), README__md="words\n")
    (images / "app" / "tests").mkdir()
    (images / "app" / "tests" / "test_x.py").write_text("", encoding="utf-8")
    assert Recipes(images).reference("app") == before


def test_an_executable_bit_is_an_input(images: Path) -> None:
    before = Recipes(images).reference("app")
    (images / "app" / "main.py").chmod(0o755)
    assert Recipes(images).reference("app") != before


def test_a_dockerfile_does_not_rebuild_a_root_file_system(images: Path) -> None:
    before = Recipes(images).hash("base", "rootfs")
    (images / "base" / "Dockerfile").write_text("FROM scratch\nUSER 2\n", encoding="utf-8")
    assert Recipes(images).hash("base", "rootfs") == before


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("version: '1'\nimages: {}\n", "unknown key `images`; did you mean image"),
        ("version: '1'\nrootfs: {suit: trixie}\n", "unknown key `rootfs.suit`; did you mean suite"),
        ("rootfs: {}\n", "has no `version`"),
        ("version: '1'\ngo: [a]\n", "`go` is not a mapping"),
        ("version: [\n", "is not YAML"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, recipe: str, sentence: str) -> None:
    write(tmp_path, "one", recipe)
    with pytest.raises(BuildError, match=sentence):
        Recipes(tmp_path).get("one")


def test_an_unknown_recipe_is_refused_with_a_suggestion(images: Path) -> None:
    with pytest.raises(BuildError, match=r"images/bas/recipe.yml is not there; did you mean base"):
        Recipes(images).get("bas")


def test_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", "version: '1'\nimage: {base: b}\n")
    write(tmp_path, "b", "version: '1'\nimage: {base: a}\n")
    with pytest.raises(BuildError, match="a -> b -> a"):
        Recipes(tmp_path).order(["a"])


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("go.etcd.io/etcd/server/v3", "server"),
        ("./network", "network"),
        ("sigs.k8s.io/kind", "kind"),
    ],
)
def test_the_name_that_go_gives_a_program(package: str, name: str) -> None:
    assert _build._default_name(package) == name


def test_how_far_a_compilation_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("go: downloading a v1\ngo: downloading b v1\n", encoding="utf-8")
    assert _build._compiled(log) == "2 modules fetched"
    log.write_text("go: downloading a v1\ninternal/abi\nfmt\n", encoding="utf-8")
    assert _build._compiled(log) == "2 packages compiled"
    assert _build._compiled(tmp_path / "none") == ""


def test_half_a_result_never_counts(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = _build.Builder(Recipes(images), tmp_path / "cache", lambda line: None)
    calls: list[str] = []

    def broken(self: _build.Builder, recipe: object, target: Path) -> None:
        calls.append("broken")
        (target / "rootfs.tar").write_text("half", encoding="utf-8")
        raise BuildError("interrupted")

    def whole(self: _build.Builder, recipe: object, target: Path) -> None:
        calls.append("whole")
        (target / "rootfs.tar").write_text("all", encoding="utf-8")

    monkeypatch.setattr(_build.Builder, "_rootfs", broken)
    with pytest.raises(BuildError):
        builder.part("base", "rootfs")
    assert not builder.folder("base", "rootfs").exists()
    monkeypatch.setattr(_build.Builder, "_rootfs", whole)
    assert builder.part("base", "rootfs") is True
    assert builder.part("base", "rootfs") is False
    assert (builder.folder("base", "rootfs") / "rootfs.tar").read_text(encoding="utf-8") == "all"
    assert calls == ["broken", "whole"]
    assert [path.name for path in (tmp_path / "cache" / "build").iterdir()] == [builder.folder("base", "rootfs").name]


def test_a_patch_that_finds_nothing_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("package main\n", encoding="utf-8")
    patch = {"module": "example.org/x", "substitute": {"main.go": {"nothing": "something"}}}
    with pytest.raises(BuildError, match="does not contain `nothing`"):
        _build._apply_patch(Recipes(images).get("app"), patch, tmp_path)


def test_a_patch_adds_a_file(images: Path, tmp_path: Path) -> None:
    write(images, "app", "version: '2'\n", x__mod="module x\n")
    copy = tmp_path / "copy"
    copy.mkdir()
    _build._apply_patch(Recipes(images).get("app"), {"module": "x", "files": {"go.mod": "x.mod"}}, copy)
    assert (copy / "go.mod").read_text(encoding="utf-8") == "module x\n"


def test_files_of_a_patched_module_are_those_that_were_published(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "{from: own, module: example.org/x, path: conf}"
    patch = "{module: example.org/x, version: v1.0.0, sum: 'h1:right', into: patched/x}"
    write(images, "own", f"version: '1'\ngo: {{patched: [{patch}]}}\nimage: {{sources: {{conf: {source}}}}}\n")
    recipes = Recipes(images)
    # A folder that takes files of its own module does not wait for itself.
    assert recipes.order(["own"]) == ["own"]
    asked: list[list[str]] = []

    def answer(command: list[str], **_options: object) -> str:
        asked.append(command)
        return json.dumps({"Dir": str(tmp_path / "module"), "Sum": said})

    monkeypatch.setattr(_build, "output", answer)
    monkeypatch.setattr(_toolchain, "go", lambda cache, say: "go")
    builder = _build.Builder(recipes, tmp_path / "cache", lambda line: None)
    said = "h1:right"
    assert builder._module_folder(recipes.get("own"), "example.org/x") == tmp_path / "module"
    assert asked == [["go", "mod", "download", "-json", "example.org/x@v1.0.0"]]
    said = "h1:wrong"
    with pytest.raises(BuildError, match=r"has the hash h1:wrong, not h1:right as images/own/recipe.yml says"):
        builder._module_folder(recipes.get("own"), "example.org/x")


def test_a_missing_c_compiler_is_one_sentence(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(images, "c", "version: '1'\ngo: {programs: {c: example.org/c}, cgo: true}\n", go__mod="module c\n")
    builder = _build.Builder(Recipes(images), tmp_path / "cache", lambda line: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for given, named in (("", "gcc"), ("clang -m64", "clang")):
        monkeypatch.setenv("CC", given)
        with pytest.raises(BuildError) as refused:
            builder.part("c", "go")
        assert str(refused.value) == (
            f"c: the C compiler {named} is not there; install it and the C library's headers "
            "(apt-get install gcc libc6-dev) and run again."
        )


def test_what_is_for_tests_is_no_tier() -> None:
    catalogue = (IMAGES / "catalogue.yml").read_text(encoding="utf-8")
    names = [name for name in Recipes().names() if name.endswith("-test")]
    assert names == ["cert-manager-test", "cloudnativepg-test", "grafana-test", "kube-score-test", "pebble-test"]
    assert not [name for name in names if f"images/{name}" in catalogue]


def test_a_failed_command_says_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    with pytest.raises(BuildError, match=r"thing failed after 0 s .*ended with 3.*: first \| last"):
        run(["sh", "-c", "echo first; echo; echo last; exit 3"], log=log, say=lambda line: None, label="thing")
    assert tail(log, 1) == "last"


def test_a_missing_program_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="the program no-such-program is not there"):
        run(["no-such-program"], log=tmp_path / "log", say=lambda line: None, label="thing")


def test_long_work_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.twisterlab.platform.plugins.module_utils import _progress

    monkeypatch.setattr(_progress, "INTERVAL", 0.3)
    lines: list[str] = []
    run(["sleep", "1"], log=tmp_path / "log", say=lines.append, label="sleeping", detail=lambda: "half way")
    assert len(lines) >= 2
    assert lines[0].startswith("sleeping: ")
    assert lines[0].endswith("half way")


@pytest.mark.parametrize(("elapsed", "words"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (605, "10 min 05 s")])
def test_elapsed_time(elapsed: float, words: str) -> None:
    assert seconds(100.0, 100.0 + elapsed) == words


def test_a_lock_says_who_has_it(tmp_path: Path) -> None:
    code = (
        "import fcntl,sys,time\n"
        f"f=open({str(tmp_path / 'x.lock')!r},'a+')\n"
        "fcntl.flock(f,fcntl.LOCK_EX)\nf.write('somebody')\nf.flush()\nprint('held',flush=True)\ntime.sleep(1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        lines: list[str] = []
        start = time.monotonic()
        with lock(tmp_path / "x.lock", holder="me", say=lines.append, what="thing"):
            assert time.monotonic() - start > 0.3
        assert lines[0].startswith("thing: waiting for somebody")


SOURCES = """Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main contrib
"""


def debian(tmp_path: Path, distribution: str, **files: str) -> list[str]:
    """The sources of trixie on a host with these apt files."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "os-release").write_text(f"ID={distribution}\n", encoding="utf-8")
    for name, text in files.items():
        (tmp_path / name.replace("__", "/").replace("_dot_", ".")).write_text(text, encoding="utf-8")
    return _toolchain.debian_sources("trixie", tmp_path, tmp_path / "os-release")


def test_mirrors_are_the_hosts(tmp_path: Path) -> None:
    assert debian(tmp_path, "debian", **{"sources.list.d__debian_dot_sources": SOURCES}) == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://security.example/debian-security trixie-security main",
    ]


def test_mirrors_in_the_old_form(tmp_path: Path) -> None:
    text = "# comment\ndeb [signed-by=/x] http://old.example/debian bookworm main contrib\n"
    assert debian(tmp_path, "debian", **{"sources.list": text})[0] == "deb http://old.example/debian trixie main"


def test_another_distribution_leaves_the_mirrors_to_the_tool(tmp_path: Path) -> None:
    assert debian(tmp_path, "ubuntu", **{"sources.list": "deb http://archive.example/ubuntu noble main\n"}) == []


def test_an_image_that_is_there_gets_the_names_that_a_killed_run_did_not_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "pause", "version: '1'\nimage: {tags: [registry.example/pause:1]}\n", Dockerfile="FROM scratch\n")
    builder = _build.Builder(Recipes(tmp_path), tmp_path / "cache", lambda line: None)
    reference = builder.recipes.reference("pause")
    called: list[tuple[str, ...]] = []

    def docker(*words: str, **_options: object) -> str:
        called.append(words)
        return reference

    monkeypatch.setattr(_build.docker, "docker", docker)
    assert builder.build("pause") is False
    assert ("tag", reference, "registry.example/pause:1") in called


def test_a_path_with_a_space_reaches_mmdebstrap_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "my project"
    recipe = "version: '1'\nrootfs: {suite: trixie, packages: [bash], files: {/etc/group: group}}\n"
    write(images, "base", recipe, group="root:x:0:\n")
    ran: list[str] = []
    monkeypatch.setattr(_build.shutil, "which", lambda name: name)
    monkeypatch.setattr(_build, "run", lambda argv, **_options: ran.extend(argv))
    builder = _build.Builder(Recipes(images), tmp_path / "cache", lambda line: None)
    builder._rootfs(builder.recipes.get("base"), tmp_path)
    hooks = [word.partition("=")[2] for word in ran if word.startswith("--customize-hook=upload ")]
    # It splits the words of this hook as a shell would.
    assert [shlex.split(hook) for hook in hooks] == [["upload", str(images / "base" / "group"), "/etc/group"]]


def test_no_image_keeps_the_hosts_mirrors_and_proxies(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(_build.shutil, "which", lambda name: name)
    monkeypatch.setattr(_build, "run", lambda argv, **_options: ran.extend(argv))
    builder = _build.Builder(Recipes(images), tmp_path / "cache", lambda line: None)
    builder._rootfs(builder.recipes.get("base"), tmp_path)
    root = tmp_path / "a root"
    apt = root / "etc" / "apt"
    for name in ("apt.conf.d/99mmdebstrap", "apt.conf.d/kept", "sources.list", "sources.list.d/0000.list"):
        (apt / name).parent.mkdir(parents=True, exist_ok=True)
        (apt / name).write_text("http://me:word@proxy.example", encoding="utf-8")
    for hook in (word.partition("=")[2] for word in ran if word.startswith("--customize-hook=")):
        subprocess.run(["sh", "-c", hook, "exec", str(root)], check=True)
    assert [path for path in apt.rglob("*") if path.is_file()] == [apt / "apt.conf.d" / "kept"]


def test_two_runs_make_one_go_toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(folder: Path, *_rest: object) -> None:
        made.append(folder)
        time.sleep(0.3)
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "go").touch()

    private = tmp_path / "go" / "toolchain" / "bin" / "go"
    monkeypatch.setattr(_toolchain, "private_venv", make)
    monkeypatch.setattr(
        _toolchain, "go_version", lambda program: (1, 26) if Path(program) == private and private.exists() else None
    )
    with ThreadPoolExecutor() as threads:
        found = list(threads.map(lambda _run: _toolchain.go(tmp_path, lambda line: None), range(2)))
    assert found == [str(private)] * 2
    assert len(made) == 1
