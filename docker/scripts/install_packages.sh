#!/usr/bin/env bash
# Make a virtual environment with what y12 needs, by the pins; y12 itself comes with install_y12.sh. A layer of its own:
# it is made again only when a requirement or a pin changes.
#   VENV         the environment to make (default: venv)
#   Y12_EXTRAS   extras of pyproject.toml (default: gpu,rtx)
#   Y12_WITHOUT  packages of them to leave out (default: none)
#   WHEELS       a folder of wheels that were built beforehand (default: none)
#   TORCH_INDEX  where torch is taken from, such as https://download.pytorch.org/whl/cpu (default: pip's own index)
#   PYTHON       the Python to use (default: python3)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${VENV:-venv}
python=${PYTHON:-python3}
torch_index=${TORCH_INDEX:-}

"$python" -m venv "$venv"
list=$("$venv/bin/python" "$root/docker/scripts/requirements.py" "${Y12_EXTRAS-gpu,rtx}" "${Y12_WITHOUT:-}")
mapfile -t wanted <<<"$list"

pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
cat "$root/constraints.txt" "$root/docker/constraints.txt" >"$pins"
if [[ $torch_index == */cu* ]]; then # torch for CUDA names the very versions of CUDA's packages that it needs
  sed -i '/^nvidia-/d' "$pins"
fi
export PIP_CONSTRAINT="$pins" # not -c, which leaves out what builds a package that has no wheel
pip=("$venv/bin/pip" install --quiet --disable-pip-version-check)
if [[ -n $torch_index ]]; then # alone, as that index may not have the pinned versions of what torch needs
  "${pip[@]}" --no-deps --index-url "$torch_index" torch
fi
if [[ -n ${WHEELS:-} ]]; then
  pip+=(--find-links "$WHEELS")
fi
"${pip[@]}" "${wanted[@]}"
