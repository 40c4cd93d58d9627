#!/usr/bin/env bash
# Runs the named stages of the test ladder and prints the minutes of each: test.sh lint unit contract render score rules oldest controller app kind
# The first failing stage ends the run (a hang is a failure); a stage that could not run says "skipped" and why, and is never counted as passed.
set -euo pipefail
unset CDPATH
cd "$(dirname "$0")/.."

export HOME=${HOME:-~}
export TWISTERLAB_CACHE_DIR=${TWISTERLAB_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/twisterlab}
export PYTHONDONTWRITEBYTECODE=1 ANSIBLE_NOCOLOR=1 PY_COLORS=0
base_path=$PATH
skipped=""

use() { # REQUIREMENTS LOWEST [HIGHEST]: that virtual environment first on PATH
    local venv
    venv=$(scripts/venv.sh "$@") || return
    export PATH="$venv/bin:$TWISTERLAB_CACHE_DIR/bin:$base_path"
}

use_or_skip() { # WHAT: the oldest environment; only where Python 3.11 is missing is the stage skipped
    local status=0
    use requirements-oldest.txt 11 11 || status=$?
    if [ "$status" = 3 ]; then
        skipped=": no Python 3.11 for $1"
        return
    fi
    return "$status"
}

stage_lint() {
    use requirements-dev.txt 12
    ruff check .
    ruff format --check .
    mypy
    yamllint --strict .
    ansible-lint --offline
}

stage_unit() {
    use requirements-dev.txt 12
    timeout 900 python -m pytest -q -n 2 tests/unit
}

stage_contract() {
    use requirements-dev.txt 12
    timeout 900 python -m pytest -q -n 2 tests/contract
}

stage_render() {
    use requirements-dev.txt 12
    timeout 900 python -m pytest -q -n 2 tests/render
}

stage_oldest() {
    use_or_skip "the oldest supported ansible-core" || return "$?"
    [ -z "$skipped" ] || return 0
    timeout 900 python -m pytest -q -n 2 tests/unit tests/contract tests/render
}

stage_controller() {
    # The package "ansible" of those requirements is the last that carries awx.awx.
    use_or_skip "the collection awx.awx" || return "$?"
    [ -z "$skipped" ] || return 0
    timeout 900 python -m pytest -q tests/controller
}

run_or_skip() { # PROGRAM WHY: a stage with a program of its own, whose exit code 77 says that it could not run here
    local status=0
    "$1" || status=$?
    if [ "$status" = 77 ]; then
        skipped=": $2 (see above)"
        return
    fi
    return "$status"
}

stage_app() {
    run_or_skip tests/app/run "the servers it needs are not here"
}

stage_rules() {
    run_or_skip tests/rules/run "promtool and amtool are not here"
}

stage_score() {
    run_or_skip tests/score/run "kube-score is not here"
}

stage_kind() {
    use requirements-dev.txt 12
    local log=$TWISTERLAB_CACHE_DIR/logs/test-kind.log status=0 left_out=()
    mkdir -p "${log%/*}"
    if [ -z "${TWISTERLAB_TEST_LONG:-}" ]; then
        # Another mode or another authority, more than one stack, every password under load: a third of the whole.
        left_out=(acme cloudnativepg fleet gateway lifecycle rotation)
        skipped=": ${left_out[*]} and what is marked long, which \`make test-long\` runs"
    fi
    molecule test --all "${left_out[@]/#/--exclude=}" 2>&1 | tee "$log" || status=$?
    if [ "$status" != 0 ]; then
        # The clean-up comes after the failure and would be all that a cut log shows.
        echo "=== what failed (all of it: $log)"
        scripts/first_failure.awk "$log"
    fi
    return "$status"
}

report=""
for stage in "$@"; do
    echo "=== $stage"
    started=$SECONDS
    skipped=""
    if ! declare -F "stage_$stage" >/dev/null; then
        echo "There is no stage \"$stage\": the stages are lint unit contract render score rules oldest controller app kind." >&2
        exit 2
    fi
    # A subshell would lose `skipped`; `set -e` must hold inside the stage, so the function is not part of a condition.
    trap 'echo "=== stage $stage failed after $((SECONDS - started)) s"' EXIT
    "stage_$stage"
    trap - EXIT
    report+=$(printf '%-10s %5.1f min%s' "$stage" "$(awk "BEGIN{print ($SECONDS-$started)/60}")" "${skipped:+  skipped$skipped}")$'\n'
done
printf '\n%stotal %14.1f min\n' "$report" "$(awk "BEGIN{print $SECONDS/60}")"
