#!/usr/bin/env bash
# Builds the isolated environment of the predecessor library and regenerates the frozen oracle arrays.
#
#   bash tests/oracles/make.sh           environment and arrays (what `make oracles` calls)
#   bash tests/oracles/make.sh env       the environment alone (what the benchmarks need)
#
# PYTHON=... names the interpreter; it must be Python 3.11. Default: the first of python3.11 and python3 that is.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
venv="$root/.oracles-venv"
what="${1:-all}"

is_311() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; }

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    is_311 "$PYTHON" && { echo "$PYTHON"; return 0; }
    echo "oracles: PYTHON=$PYTHON is not a Python 3.11 that runs" >&2
    return 1
  fi
  # A shim may exist and still exit with an error, so every candidate is run, and every copy on PATH is tried.
  for candidate in $(type -aP python3.11 2>/dev/null) $(type -aP python3 2>/dev/null); do
    is_311 "$candidate" && { echo "$candidate"; return 0; }
  done
  echo "oracles: no Python 3.11 found; neural-tangents 0.6.5 needs it (name one with PYTHON=...)" >&2
  return 1
}

if [ "$what" != all ] && [ "$what" != env ]; then
  echo "usage: make.sh [all|env]" >&2
  exit 2
fi

# The stamp is written last, so an interrupted installation is started again from nothing.
stamp="$(cat "$here/requirements.txt" "$here/make.sh" | cksum | tr ' ' -)"
if [ "$(cat "$venv/.stamp" 2>/dev/null || true)" != "$stamp" ]; then
  python="$(find_python)"
  echo "oracles: building $venv with $("$python" --version) (about 560 MB)"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
  # `import neural_tangents` imports its `experimental` package, and that imports TensorFlow, unconditionally. The
  # package holds only wrappers for TensorFlow models. Emptying it, in this environment alone, changes nothing else.
  site="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  : > "$site/neural_tangents/experimental/__init__.py"
  rm -rf "$site/neural_tangents/experimental/__pycache__"
  "$venv/bin/python" -c 'import neural_tangents; assert neural_tangents.__version__ == "0.6.5"'
  echo "$stamp" > "$venv/.stamp"
fi
echo "oracles: environment ready"
if [ "$what" = env ]; then exit 0; fi

cd "$root"
for generator in generate_nt_dense generate_mpmath_dense generate_nt_conv generate_mpmath_conv generate_nt_predict; do
  echo "oracles: running $generator"
  JAX_PLATFORMS=cpu "$venv/bin/python" "$here/$generator.py"
done
