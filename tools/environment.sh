#!/bin/sh
# Make a virtual environment (once) and install TheoryLab into it with the given extras (when needed).
#
# usage: tools/environment.sh VENV EXTRA[,EXTRA...]
#
# uv does both when it is on PATH, python -m venv and pip otherwise. What is installed is remembered
# in VENV/theorylab-installed/EXTRA as a checksum of pyproject.toml, constraints.txt and the place of
# the checkout: nothing is installed twice, a changed file installs again, and a copied environment
# does not go on importing the original. PYTHON=... forces the interpreter, and makes the environment
# anew if it was made with another version.
set -eu

venv="$1"
extras="$2"
root=$(cd "$(dirname "$0")/.." && pwd)
stamps="$venv/theorylab-installed"
cd "$root"

say() { printf '== %s\n' "$*"; }

version_of() { "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none; }

remove_environment() {
    if [ ! -f "$venv/pyvenv.cfg" ]; then
        say "$venv exists and is no virtual environment: nothing was touched; name another VENV" >&2
        exit 1
    fi
    rm -rf "$venv"
}

if [ -e "$venv" ]; then
    have=$(version_of "$venv/bin/python")
    if [ "$have" = none ]; then
        say "the interpreter in $venv does not run: making it anew"
        remove_environment
    elif [ -n "${PYTHON:-}" ]; then
        forced=$(sh tools/find_python.sh)
        wanted=$(version_of "$forced")
        if [ "$have" != "$wanted" ]; then
            say "$venv has Python $have and PYTHON=$PYTHON is $wanted: making it anew"
            remove_environment
        fi
    fi
fi

if [ ! -e "$venv" ]; then
    python=$(sh tools/find_python.sh)
    if command -v uv >/dev/null 2>&1; then
        say "making $venv with uv and Python $(version_of "$python"): $python"
        UV_PYTHON_DOWNLOADS=never uv venv --quiet --python "$python" "$venv"
    else
        say "making $venv with Python $(version_of "$python"): $python"
        "$python" -m venv "$venv"
    fi
fi

wanted=$({ pwd; cat pyproject.toml constraints.txt; } | cksum)
missing=""
for extra in $(printf '%s' "$extras" | tr ',' ' '); do
    if [ "$(cat "$stamps/$extra" 2>/dev/null || true)" != "$wanted" ]; then
        missing="$missing${missing:+,}$extra"
    fi
done
[ -n "$missing" ] || exit 0

say "installing theorylab[$missing] into $venv (a minute or two the first time)"
if command -v uv >/dev/null 2>&1; then
    uv pip install --python "$venv/bin/python" -c constraints.txt -e ".[$missing]"
else
    # An environment that uv made, or whose making was interrupted, has no pip yet.
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip --upgrade
    "$venv/bin/python" -m pip install --disable-pip-version-check \
        -c constraints.txt -e ".[$missing]"
fi
mkdir -p "$stamps"
for extra in $(printf '%s' "$missing" | tr ',' ' '); do
    printf '%s\n' "$wanted" >"$stamps/$extra"
done
say "ready: $("$venv/bin/python" -c 'import jax, sys; print(f"Python {sys.version.split()[0]}, jax {jax.__version__}")')"
