#!/bin/sh
# Print the path of the newest Python >= 3.11 that really runs.
#
# A name on PATH proves nothing: a version manager's shim may exist and exit with an error. So every
# candidate is run. Candidates: python3.14 ... python3.11, python3 and python on PATH, then whatever
# pyenv holds ($PYENV_ROOT or ~/.pyenv). A candidate counts if it is a released CPython with the
# global lock and can make a virtual environment (ensurepip, or uv on PATH to do it instead).
#
# usage: tools/find_python.sh                newest usable interpreter
#        tools/find_python.sh 3.11           newest usable interpreter of that minor version
#        PYTHON=... tools/find_python.sh     that one or an error, nothing else is tried
set -u

wanted="${1:-}"
oldest_minor=11

# Prints "minor micro path" and exits 0, or says why not on stderr and exits 1.
probe='
import os, sys
if sys.version_info < (3, int(sys.argv[1])):
    sys.exit("it is Python %d.%d; TheoryLab needs 3.%s or newer" % (sys.version_info[0], sys.version_info[1], sys.argv[1]))
if sys.argv[2] != "forced":
    import sysconfig
    if sys.implementation.name != "cpython" or sys.version_info[3] != "final":
        sys.exit("it is not a released CPython")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        sys.exit("it is a free-threaded build")
if sys.argv[3] != "uv":
    try:
        import ensurepip, venv
    except ImportError:
        sys.exit("it cannot make virtual environments (on Debian: install python3-venv)")
path = sys.executable
if sys.prefix != sys.base_prefix:
    path = getattr(sys, "_base_executable", path)
print(sys.version_info[1], sys.version_info[2], path)
'

if command -v uv >/dev/null 2>&1; then maker=uv; else maker=pip; fi

try() {
    "$1" -I -c "$probe" "$oldest_minor" "$2" "$maker" </dev/null
}

if [ -n "${PYTHON:-}" ]; then
    if ! found=$(try "$PYTHON" forced 2>&1); then
        echo "PYTHON=$PYTHON cannot be used: $(printf '%s\n' "$found" | tail -n 1)" >&2
        exit 1
    fi
    # A warning printed at start-up must not be taken for the answer: that is the last line.
    printf '%s\n' "$found" | tail -n 1 | cut -d ' ' -f 3-
    exit 0
fi

candidates() {
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        command -v "$name" 2>/dev/null
    done
    for path in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin/python; do
        [ -x "$path" ] && printf '%s\n' "$path"
    done
}

found=$(
    candidates | while IFS= read -r path; do
        if answer=$(try "$path" searched 2>/dev/null); then printf '%s\n' "$answer" | tail -n 1; fi
    done | if [ -n "$wanted" ]; then grep "^${wanted#3.} "; else cat; fi |
        sort -k1,1nr -k2,2nr | head -n 1 | cut -d ' ' -f 3-
)

if [ -z "$found" ]; then
    echo "no usable Python ${wanted:->= 3.$oldest_minor} found on PATH or under pyenv;" \
        "install one, or name it: make PYTHON=/path/to/python ..." >&2
    exit 1
fi
printf '%s\n' "$found"
