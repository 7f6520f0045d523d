#!/usr/bin/env bash
# Refuse a runtime image that is not what it should be. Run as the user the image runs as; no GPU is needed.
#   VENV         its environment (default: venv)
#   Y12_KERNELS  its compiled kernels (default: kernels)
set -euo pipefail

venv=${VENV:-venv}
kernels=${Y12_KERNELS:-kernels}

refuse() {
  echo "check_runtime.sh: $1" >&2
  exit 1
}

[[ $(id -u) != 0 ]] || refuse "expected an ordinary user, found root"
[[ ! -w $venv && ! -w $kernels ]] || refuse "expected that $venv and $kernels cannot be written to by $(id -u)"
"$venv/bin/python" -c "" || refuse "expected a Python in $venv that $(id -u) can start"
for module in torch onnx pip; do
  ! "$venv/bin/python" -c "import $module" 2>/dev/null || refuse "expected no $module in the image, found it"
done
for module in cv2 cuda.core numpy y12.runtime.session; do
  "$venv/bin/python" -c "import $module" || refuse "expected $module in the image"
done
"$venv/bin/python" - "$kernels" <<'PYTHON' || refuse "expected the code of every kernel in $kernels"
import sys
from pathlib import Path

from y12.runtime.kernels.sources import SMS, kernel_names

sys.exit(len(list(Path(sys.argv[1]).glob("*.cubin"))) < len(kernel_names()))
PYTHON
"$venv/bin/y12-infer" --help >/dev/null || refuse "expected y12-infer to start"
echo "the image is as it should be: $(id -u), no torch, $(find "$kernels" -name '*.cubin' | wc -l) compiled kernels"
