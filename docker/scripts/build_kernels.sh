#!/usr/bin/env bash
# Compile every kernel of the runtime beforehand; no GPU is needed.
#   VENV         an environment with y12, cuda-core and NVRTC (default: venv)
#   Y12_SMS      compute capabilities, such as 75,89 (default: all that y12 names)
#   Y12_KERNELS  the folder to fill, which the runtime finds by the same variable (default: kernels)
set -euo pipefail

venv=${VENV:-venv}
kernels=${Y12_KERNELS:-kernels}

arguments=(--output "$kernels")
if [[ -n ${Y12_SMS:-} ]]; then
  arguments+=(--sm "$Y12_SMS")
fi
"$venv/bin/python" -m y12.runtime.cli.prebuild "${arguments[@]}"
