#!/usr/bin/env bash
# Make what pycuda is compiled with where there is no CUDA toolkit: its headers, from NVIDIA's packages for pip, and a stub of
# the driver, which names the library to load and has nothing in it. Needs gcc.
#   CUDA_ROOT  the folder to make (default: cuda)
#   CUDA       the release of the headers (default: 13.0)
#   PYTHON     the Python to use (default: python3)
set -euo pipefail

cuda=${CUDA_ROOT:-cuda}
release=${CUDA:-13.0}
python=${PYTHON:-python3}

if [[ -e $cuda/include/cuda.h ]]; then
  echo "stand_in_toolkit.sh: expected no toolkit in CUDA_ROOT, found $cuda/include/cuda.h; use that one" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$work/packages" \
  "nvidia-cuda-runtime==$release.*" "nvidia-cuda-crt==$release.*" "nvidia-cuda-profiler-api==$release.*"
mkdir -p "$cuda/include" "$cuda/lib64/stubs"
cp -R "$work"/packages/nvidia/cu*/include/. "$cuda/include/"
gcc -shared -nostdlib -Wl,-soname,libcuda.so.1 -o "$cuda/lib64/stubs/libcuda.so" -x c /dev/null
for header in cuda.h cudaProfiler.h crt/host_defines.h; do
  if [[ ! -f $cuda/include/$header ]]; then
    echo "stand_in_toolkit.sh: expected $header in NVIDIA's packages of CUDA $release, found none" >&2
    exit 1
  fi
done
