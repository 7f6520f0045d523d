#!/usr/bin/env bash
# Install y12 from this checkout into an environment that install_packages.sh made.
#   VENV      the environment (default: venv)
#   KEEP_PIP  1 keeps pip in it, 0 takes it out, with setuptools (default: 1)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${VENV:-venv}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$venv/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --build-constraint "$root/docker/hashes.txt" \
  --wheel-dir "$work" "$root"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$work"/y12-*.whl
if [[ ${KEEP_PIP:-1} == 0 ]]; then
  "$venv/bin/pip" uninstall --quiet --disable-pip-version-check --yes setuptools pip
fi
"$venv/bin/y12-infer" --help >/dev/null
