#!/usr/bin/env bash
# Give an environment a pip that compares hashes beside pins; a base's own may be too old for that.
#   install_pip.sh VENV
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
own=$(mktemp)
trap 'rm -f "$own"' EXIT
grep '^pip==' "$root/docker/hashes.txt" >"$own"
"$1/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$own"
