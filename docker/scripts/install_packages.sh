#!/usr/bin/env bash
# Make a virtual environment with what y12 needs, by the pins; y12 itself comes with install_y12.sh. A layer of its own:
# it is made again only when a requirement or a pin changes.
#   VENV         the environment to make (default: venv)
#   Y12_EXTRAS   extras of pyproject.toml (default: gpu,rtx)
#   Y12_WITHOUT  packages of them to leave out (default: none)
#   WHEELS       a folder of wheels that were fetched or built beforehand (default: none)
#   TORCH_INDEX  where torch is taken from, such as https://download.pytorch.org/whl/cpu (default: pip's own index); if WHEELS
#                has torch it is taken from there. That it is for the CPU, or for CUDA, as the address says, is checked.
#   PYTHON       the Python to use (default: python3)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${VENV:-venv}
python=${PYTHON:-python3}
torch_index=${TORCH_INDEX:-}
wheels=${WHEELS:-}

"$python" -m venv "$venv"
list=$("$venv/bin/python" "$root/docker/scripts/requirements.py" "${Y12_EXTRAS-gpu,rtx}" "${Y12_WITHOUT:-}")
mapfile -t wanted <<<"$list"

"$root/docker/scripts/install_pip.sh" "$venv"
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
cat "$root/constraints.txt" "$root/docker/constraints.txt" >"$pins"
hashes=$root/docker/hashes.txt
if [[ $torch_index == */cu* ]]; then # torch for CUDA names the very versions of CUDA's packages that it needs
  sed -i '/^nvidia-/d' "$pins"
  hashes=$pins
  echo "install_packages.sh: torch is for CUDA: what it needs has no pins, and no file's hash is compared"
fi
export PIP_CONSTRAINT="$pins"
pip=("$venv/bin/pip" install --quiet --disable-pip-version-check)
if [[ -n $torch_index ]]; then # alone, as that index may not have the pinned versions of what torch needs
  source=(--index-url "$torch_index")
  if [[ -n $wheels ]] && compgen -G "$wheels/torch-*.whl" >/dev/null; then
    echo "install_packages.sh: torch is taken from $wheels, $torch_index is not asked"
    source=(--no-index --find-links "$wheels")
  fi
  if ! "${pip[@]}" --no-deps "${source[@]}" torch; then
    echo "install_packages.sh: expected torch at ${source[*]}, got none; name another TORCH_INDEX, or put its wheel in WHEELS" >&2
    exit 1
  fi
fi
if [[ -n $wheels ]]; then
  if compgen -G "$wheels/pycuda-*.whl" >/dev/null && [[ $list == *pycuda* ]]; then
    "${pip[@]}" --no-deps --no-index --find-links "$wheels" pycuda # built by build_pycuda.sh, which compared its source
  fi
  pip+=(--find-links "$wheels")
fi
# What is there already is left as it is; of all else, and of what builds it, the files' hashes are compared.
PIP_CONSTRAINT="$hashes" "${pip[@]}" --build-constraint "$hashes" "${wanted[@]}"
case "$torch_index" in # what came after torch may have put another build of it in its place
*/cpu) expected=None ;;
*/cu*) expected="a version" ;;
*) exit 0 ;;
esac
found=$("$venv/bin/python" -c "import torch; print(torch.version.cuda)")
if [[ $expected == None && $found != None || $expected != None && $found == None ]]; then
  echo "install_packages.sh: expected torch.version.cuda to be $expected by TORCH_INDEX, found $found; see WHEELS" >&2
  exit 1
fi
