#!/usr/bin/env bash
# Everything that only a GPU can show, in one command for whoever has one; what it finds is in one file, to send back.
#
#   scripts/gpu_first_run.sh [STEP...]   (default: all of them, in this order)
#     facts      the GPU, its driver, the processor, the versions of what y12 uses
#     export     the demo model as an FP16 engine, built for this GPU and verified by running it
#     infer      the engine on a drawn scene, with letterbox and NMS on the GPU
#     bench      its stages in ms, and those of its .onnx on the processor
#     test       make test-gpu: kernels against their twins, graph capture, streams; a test that skips is a failure
#     benchmark  benchmarks/gpu.py: what y12 adds around the engine, and its kernels beside torch's
#     sanitizer  the kernels under compute-sanitizer, where CUDA's toolkit has put one on PATH
#
# A step that fails does not stop those behind it. The file is gpu-first-run.tar.gz, in the folder it is run from: a table
# (summary.txt), a log a step, the engine's report. Home, host and user names are taken out of the logs. The exit code is
# 0 where every step did what it should, 1 where one did not, 2 where the command line is wrong.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
from=$PWD
bin=$root/.venv/bin
all=(facts export infer bench test benchmark sanitizer)
[[ $# -gt 0 ]] || set -- "${all[@]}"
for step; do
  [[ " ${all[*]} " == *" $step "* ]] || {
    echo "gpu_first_run.sh: expected steps of ${all[*]}, found '$step'" >&2
    exit 2
  }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=$work/gpu-first-run made=$work/made
mkdir "$found" "$made"
engine=$made/yolov12n-shapes_fp16.engine

facts() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit --format=csv
  local seen=$?
  grep -m1 'model name' /proc/cpuinfo
  uname -srm
  "$bin/python" --version
  "$bin/pip" freeze --exclude-editable | grep -iE '^(torch|onnx|tensorrt|cuda|nvidia|numpy|opencv|y12)'
  git -C "$root" log -1 --format='y12 %H %cs'
  return $seen
}
export_() {
  "$bin/y12-export" --format engine --half --output "$made" && cp "$made"/*.report.* "$made"/*.engine.json "$found"
}
infer() {
  "$bin/python" -m y12.exporter.train.shapes "$made/scenes" --images 4 --seed 7 &&
    "$bin/y12-infer" "$engine" "$made/scenes/images" --json
}
bench() {
  "$bin/y12-bench" "$engine" --iterations 200 && "$bin/y12-bench" "${engine%.engine}.onnx" --provider cpu --iterations 20
}
test_() { make -C "$root" test-gpu; }
benchmark() { (cd "$root" && "$bin/python" benchmarks/gpu.py --engine "$engine"); }
sanitizer() {
  command -v compute-sanitizer || return 127
  (cd "$root" && Y12_REQUIRE_GPU=1 compute-sanitizer --error-exitcode 1 "$bin/python" -m pytest -q -m gpu tests/gpu)
}
without_names() {
  local user=()
  [[ $(id -un) == root ]] || user=(-e "s|\b$(id -un)\b|USER|g") # root is a word of its own
  sed -e "s|$root|.|g" -e "s|$work|SCRATCH|g" -e "s|$HOME|HOME|g" -e "s|\b$(uname -n)\b|HOST|g" "${user[@]}"
}

make -C "$root" --silent .venv/installed >&2 || exit 1
failed=0
printf '%-10s %4s %8s\n' step exit seconds >"$found/summary.txt"
for step; do
  echo "$step …" >&2
  started=$SECONDS
  case $step in export | test) run=${step}_ ;; *) run=$step ;; esac
  "$run" 2>&1 | without_names >"$found/$step.log"
  code=${PIPESTATUS[0]}
  [[ $code == 0 ]] || failed=1
  printf '%-10s %4s %8s\n' "$step" "$code" $((SECONDS - started)) >>"$found/summary.txt"
done
tar -C "$work" -czf "$from/gpu-first-run.tar.gz" gpu-first-run || exit 1
cat "$found/summary.txt"
echo "made: gpu-first-run.tar.gz"
exit $failed
