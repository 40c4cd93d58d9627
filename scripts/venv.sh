#!/usr/bin/env bash
# Makes the virtual environment of a requirements file once and prints its path: venv.sh REQUIREMENTS LOWEST [HIGHEST]
# LOWEST and HIGHEST bound the minor version of Python 3; the newest that really runs is taken. Kept in the cache by the hash of the file,
# so that a fresh clone finds it there. The exit code 3 says that there is no such Python, and nothing else does.
set -euo pipefail

# With CDPATH a `cd` may go elsewhere, and writes where it went. A service has no HOME.
unset CDPATH
export HOME=${HOME:-~}
requirements=$1 lowest=$2 highest=${3:-14}
cache=${TWISTERLAB_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/twisterlab}

# Version managers leave shims on PATH that fail when called: every candidate is run, also those below pyenv's versions folder.
find_python() {
    local minor candidate
    for ((minor = highest; minor >= lowest; minor--)); do
        for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor"*/bin/python3 python3; do
            if "$candidate" -c "import sys, ssl, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
                command -v "$candidate"
                return
            fi
        done
    done
    return 1
}

python=$(find_python) || {
    echo "No working Python 3.$lowest to 3.$highest with venv was found on PATH or under ${PYENV_ROOT:-$HOME/.pyenv}/versions: install one (for example the package python3.13-venv) and run this again." >&2
    exit 3
}
mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || {
    echo "The cache folder $cache cannot be written: make it writable or set TWISTERLAB_CACHE_DIR to a folder that is." >&2
    exit 4
}
here=$(dirname "$requirements")
key=$( (cd "$here" && cat requirements.txt "$(basename "$requirements")"; "$python" -VV) | sha256sum | cut -c1-12)
venv=$cache/venv/$(basename "$requirements" .txt)-$key

exec 9>"$cache/venv.lock"
if ! flock -n 9; then
    echo "Another run is making a virtual environment, waiting for it." >&2
    flock 9
fi
if [ ! -e "$venv/.complete" ]; then
    echo "Making the virtual environment $venv with $("$python" -V) (once, about a minute)." >&2
    rm -rf "$venv"
    { "$python" -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"; } >&2 || exit 4
    touch "$venv/.complete"
fi
echo "$venv"
