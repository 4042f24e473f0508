#!/usr/bin/env bash
# Builds .peers-venv, where the peers of SOAP live (`make peers`; about 1.5 GB with PyTorch).
#
#   PYTHON=...       the interpreter; it must be Python 3.11
#   SOAP_JAX=...     a checkout of haydn-jones/SOAP_JAX, the port to JAX; it is in no registry
#   SOAP_TORCH=...   the file soap.py of nikhilvyas/SOAP, the authors' program; likewise
#
# What is not given is left out, and the benchmark says so.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(dirname "$here")"
venv="$root/.peers-venv"

stamp="$(cat "$here/peers.txt" "$here/make_peers.sh" | cksum | tr ' ' -)"
if [ "$(cat "$venv/.stamp" 2>/dev/null || true)" != "$stamp" ]; then
  python="$(sh "$root/tools/find_python.sh" 3.11)"
  echo "peers: building $venv with $("$python" --version)"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/peers.txt"
  echo "$stamp" > "$venv/.stamp"
fi
site="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
if [ -n "${SOAP_JAX:-}" ]; then
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$SOAP_JAX"
fi
if [ -n "${SOAP_TORCH:-}" ]; then
  cp "$SOAP_TORCH" "$site/soap_torch_reference.py"
fi
for module in soap_jax soap_torch_reference pytorch_optimizer; do
  if (cd / && "$venv/bin/python" -c "import $module" >/dev/null 2>&1); then
    echo "peers: $module is ready"
  else
    echo "peers: without $module (see the first lines of benchmarks/make_peers.sh)"
  fi
done
