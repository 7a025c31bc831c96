# Every target installs what it needs first: a virtual environment from hashed requirements, and this package in it.
# ARGS="…" is handed on to the command of the target: make test ARGS="tests/engine -k zones -x".

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.package-installed
DOCS_VENV := .venv-docs

# PYTHON=… names the interpreter; without it the first of these that is 3.11 or newer and can make virtual environments.
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3)
FIND_PYTHON = python=; for each in $(PYTHONS); do \
	if "$$each" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$each; break; fi; done; \
	if [ -z "$$python" ]; then \
	echo "error: no Python 3.11 or newer with the modules venv and ensurepip among: $(PYTHONS)" >&2; \
	echo "       install one (Debian and Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1; fi

# The layers of tests, quickest first; a mistake shows in the layer that owns it. A folder that isn't named here runs last.
LAYERS := $(addprefix tests/,tools engine api examples local image kube cli chart cluster)
# A process for each core and one more, each with a control plane of its own; files stay whole and in this order.
SIDE_BY_SIDE := --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
# These run nowhere but on kubelets of their own.
ON_KUBELETS := tests/kubelet tests/kind
TESTS = $(wildcard $(LAYERS)) $(filter-out $(LAYERS) $(ON_KUBELETS),$(sort $(patsubst %/,%,$(dir $(wildcard tests/*/test_*.py)))))

##@ See it

.PHONY: demo
demo: $(READY)  ## Start a control plane, run the operator, roll out good and broken images and extensions; KEEP=1 leaves it up
	$(BIN)/scalesets demo $(if $(filter-out 0 no false,$(KEEP)),--keep) $(ARGS)

.PHONY: bench
bench: $(READY)  ## Measure upgrades beside a bare script and a StatefulSet; results in bench/results/latest.json
	$(BIN)/python bench/run.py $(ARGS)

##@ Work on it

.PHONY: test
test: $(READY)  ## Run all tests, layer by layer, the real API server included; ARGS="tests/engine -x" runs some
	@$(BIN)/scalesets local fetch >/dev/null
	@$(BIN)/scalesets local fetch helm registry >/dev/null
	$(BIN)/pytest $(or $(ARGS),$(SIDE_BY_SIDE) $(TESTS))
	@$(BIN)/python -m tools.kubelets --check

.PHONY: test-kubelet
test-kubelet: $(READY)  ## Run the operator on two nodes with real kubelets; as root on Linux, elsewhere it says why not
	@$(BIN)/python -m tools.kubelets $(ARGS)

# With root on Debian 12; debootstrap stands in for the base image that no registry serves.
.PHONY: test-image
test-image: export SCALESETS_TEST_IMAGE = 1
test-image: $(READY)  ## Build the image, run it as nobody on a read-only root, compare it with what the Dockerfile makes
	$(BIN)/pytest tests/image $(ARGS)

.PHONY: lint
lint: $(READY)  ## Check style, types, directions of imports, generated files and hygiene
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tools
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m scalesets.api.generate --check
	$(BIN)/python tools/features.py --check
	$(BIN)/python tools/reference.py --check
	$(BIN)/python tools/values.py --check
	$(BIN)/python tools/hygiene.py

.PHONY: fmt
fmt: $(READY)  ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: crds
crds: $(READY)  ## Generate crds/ and the chart's copies from the models
	$(BIN)/python -m scalesets.api.generate $(ARGS)

.PHONY: chart
chart: $(READY)  ## Write the chart's table of values
	$(BIN)/python tools/values.py --write

.PHONY: manifests
manifests: $(READY)  ## Write deploy/, the chart as plain manifests
	$(BIN)/python tools/manifests.py --helm "$$($(BIN)/scalesets local fetch helm | sed 's/^helm: //')"

# On Debian 12; elsewhere `docker build .` makes the same.
.PHONY: image
image: $(READY)  ## Build the operator's image into dist/, without Docker and without a registry
	$(BIN)/python tools/image.py $(ARGS)

.PHONY: features
features: $(READY)  ## Write the README's feature table from the tests' requirement marks
	$(BIN)/python tools/features.py --write

.PHONY: reference
reference: $(READY)  ## Write docs/reference/ from the CRDs and the commands
	$(BIN)/python tools/reference.py --write

.PHONY: docs
docs: $(DOCS_VENV)/.installed  ## Build the documentation's site into dist/docs; a broken link fails
	$(DOCS_VENV)/bin/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going $(ARGS) docs dist/docs
	@echo "the site is at dist/docs/index.html"

# dev first: the runtime pins are constrained to it, so that what is tested is what is shipped.
.PHONY: requirements
requirements:  ## Compile the hashed requirement files from requirements/*.in; UPGRADE=1 takes newer versions
	@set -eu; $(FIND_PYTHON); directory=$$(mktemp -d); trap 'rm -rf "$$directory"' EXIT; \
	"$$python" -m venv "$$directory"; \
	echo "installing uv into a temporary environment"; "$$directory/bin/python" -m pip install --quiet uv; \
	compile() { \
	echo "compiling requirements/$$1.txt"; name=$$1; shift; \
	env -u PIP_FIND_LINKS "$$directory/bin/uv" pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --quiet $(if $(filter-out 0 no false,$(UPGRADE)),--upgrade) \
	--output-file "$$name.txt" "$$@" "$$name.in"; }; \
	cd requirements; compile dev; compile runtime --constraints dev.txt; \
	compile build --constraints dev.txt; compile docs

##@ A local control plane

.PHONY: cluster-up
cluster-up: $(READY)  ## Start etcd, kube-apiserver, controller-manager, scheduler and simulated machines
	$(BIN)/scalesets local up $(ARGS)

.PHONY: cluster-down
cluster-down: $(READY)  ## End exactly what cluster-up started
	$(BIN)/scalesets local down $(ARGS)

##@ A kind cluster

# KIND_NODE_IMAGE names the image of its nodes; without it the one that kind-node-image made, or else the published one.
.PHONY: kind-up
kind-up: $(READY)  ## Create a kind cluster with two nodes in two zones; as root it also starts a Docker where there is none
	@$(BIN)/python -m tools.kind up

.PHONY: kind-node-image
kind-node-image: $(READY)  ## Make a node image from Debian's packages and Go modules, where no registry is reached
	@$(BIN)/python -m tools.kind node-image

.PHONY: kind-install
kind-install: $(READY)  ## Build the operator's image, load it, and install the chart
	@$(BIN)/python -m tools.kind install

.PHONY: test-kind
test-kind: $(READY)  ## Run the chart's and the examples' tests in the kind cluster
	@$(BIN)/python -m tools.kind test $(ARGS)

.PHONY: kind-trial
kind-trial: $(READY)  ## All of it in turn, and away again; says why where there can be no Docker
	@$(BIN)/python -m tools.kind trial

.PHONY: kind-down
kind-down: $(READY)  ## Delete the kind cluster, and end the Docker that was started for it
	@$(BIN)/python -m tools.kind down

# The operator isn't for the administrator to run: a local control plane has a kubeconfig of the operator's own beside his.
.PHONY: run
run: export KUBECONFIG ?= .local/kubeconfig
run: $(READY)  ## Run the operator in the foreground against KUBECONFIG (default .local/kubeconfig)
	@admin="$${KUBECONFIG%%:*}"; own="$${admin%/*}/operator.kubeconfig"; \
	[ -e "$$admin" ] || { echo "error: there is no $$admin: run \`make cluster-up\` first, or set KUBECONFIG" >&2; exit 1; }; \
	if [ "$${admin##*/}" = kubeconfig ] && [ -e "$$own" ]; then KUBECONFIG=$$own; \
	echo "running as the operator's own ServiceAccount: KUBECONFIG=$$own"; fi; \
	exec $(BIN)/scalesets operator $(ARGS)

##@ Housekeeping

.PHONY: clean
clean:  ## End the local control plane and remove all that make made here; the cache of binaries stays
	@if [ -e .local/state.json ] && [ -x $(BIN)/scalesets ]; then $(BIN)/scalesets local down; fi
	@if [ -e .local/kind/kubeconfig ] && [ -x $(BIN)/python ]; then $(BIN)/python -m tools.kind down; fi
	rm -rf .local $(VENV) $(DOCS_VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help:  ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	/^##@ / { printf "\n%s\n", substr($$0, 5) } \
	/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- the virtual environment -----------------------------------------------------------------------------------------

# An environment whose interpreter is gone (an upgraded system) is made anew; a good one is only brought up to date.
$(VENV)/.requirements-installed: requirements/dev.txt
	@set -eu; if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then $(FIND_PYTHON); \
	echo "creating $(VENV) with $$("$$python" --version)"; "$$python" -m venv --clear $(VENV); fi
	@echo "installing requirements/dev.txt (hashes checked)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# The site's generator has an environment of its own, so that tests don't wait for it.
$(DOCS_VENV)/.installed: requirements/docs.txt
	@set -eu; $(FIND_PYTHON); echo "installing requirements/docs.txt (hashes checked)"; "$$python" -m venv --clear $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

$(READY): $(VENV)/.requirements-installed pyproject.toml
	@echo "installing scaleset-operator (editable)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
