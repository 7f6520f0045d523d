#!/usr/bin/env bash
# Build the wheel of pycuda, which is published as source only and needs CUDA's headers and a stub of its driver.
#   WHEELS     folder for the wheel (default: wheels)
#   CUDA_ROOT  the CUDA toolkit (default: /usr/local/cuda)
#   PYTHON     the Python it is for (default: python3)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
wheels=${WHEELS:-wheels}
cuda=${CUDA_ROOT:-/usr/local/cuda}
python=${PYTHON:-python3}

if [[ ! -f $cuda/include/cuda.h ]]; then
  echo "build_pycuda.sh: expected the CUDA toolkit in CUDA_ROOT, found no $cuda/include/cuda.h" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
# Without curand the module needs nothing but the driver when it is loaded; y12 draws no random numbers on a GPU.
cat >"$work/.aksetup-defaults.py" <<SETTINGS
CUDA_ROOT = "$cuda"
CUDADRV_LIB_DIR = ["$cuda/lib64/stubs", "$cuda/lib64", "$cuda/lib"]
CUDA_ENABLE_CURAND = False
SETTINGS
"$root/docker/scripts/install_pip.sh" "$work/venv"
hashes=$root/docker/hashes.txt
HOME=$work PATH="$cuda/bin:$PATH" "$work/venv/bin/pip" wheel --quiet --disable-pip-version-check \
  --constraint "$hashes" --build-constraint "$hashes" --no-deps --no-binary pycuda --wheel-dir "$wheels" pycuda
ls "$wheels"/pycuda-*.whl
