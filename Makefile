# `make` lists the targets. Everything runs in .venv, which `make setup` makes from requirements.lock.

PYTHON ?=          # the interpreter for .venv, 3.11 to 3.13; found by itself when empty
EXTRAS ?=          # optional dependencies to add: make setup EXTRAS=gpu
ARGS   ?=          # passed on: make test ARGS="tests/test_cli.py -k help", make ui ARGS="--port 5001"

UV_VERSION := 0.13.8
BIN        := .venv/bin

# The stamp's name holds a sum over what the environment depends on (the folder too: scripts in .venv name it), so a
# changed lock, another branch or a moved checkout sets up again, and nothing else does.
KEY   := $(shell { cat Makefile pyproject.toml requirements.lock; pwd; } | cksum | cut -d' ' -f1)
SIZE  := 3.3 GB
STAMP := .venv/.set-up-$(KEY)$(addprefix -,$(strip $(EXTRAS)))

FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.DEFAULT_GOAL := help
.PHONY: help setup sweep ui browser sample screenshots test test-fast test-long test-services lint format bench studies release-check \
	calibration real-runs tutorial options lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with the locked dependencies and the harness itself (EXTRAS=gpu for CUDA)
	@echo "Ready: $(BIN)/harness"

sweep: $(STAMP) ## Fetch Fashion-MNIST, run the demonstration sweep and compare its runs
	@$(BIN)/harness data fetch fashion_mnist
	@$(BIN)/harness sweep experiments=demo $(ARGS)
	@echo "Look at the runs in a browser: make ui"

ui: $(STAMP) ## Open the MLflow UI on the project's runs
	@$(BIN)/harness ui $(ARGS)

browser: ## Install Chromium for the tests of the MLflow UI, unless there is one
	@$(install_browser)

sample: $(STAMP) ## Run the demonstration and write its output into README.md
	@$(BIN)/harness data fetch fashion_mnist
	@$(BIN)/python -m tests.demonstration

screenshots: $(STAMP) browser ## Take the pictures of the MLflow UI in docs/images again
	@$(BIN)/python -m tests.integration.screenshots $(ARGS)

test: $(STAMP) browser ## Run every test but the long ones, on every core
	$(BIN)/pytest $(PARALLEL) $(ARGS)

test-fast: $(STAMP) ## Run the tests that take seconds
	$(BIN)/pytest -m "not slow" $(PARALLEL) $(ARGS)

test-long: $(STAMP) ## Kill a sweep and its workers 20 times at random moments; damage 100,000 data files; measure (45 minutes)
	HARNESS_KILLS=20 $(BIN)/pytest tests/integration/test_kills.py $(ARGS)
	HARNESS_FUZZ=100000 $(BIN)/pytest tests/dataset/test_fuzzing.py $(ARGS)
	$(BIN)/pytest -m long $(ARGS)

test-services: $(STAMP) ## Run the tests on a real PostgreSQL and a real server with users, which they start and stop
	@$(install_postgresql)
	$(BIN)/pytest -m services tests/services tests/integration/test_clusters.py $(ARGS)

lint: $(STAMP) ## Check style, types and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Rewrite the code in the house's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) benchmarks/.venv/.installed ## Measure against peers, write docs/benchmarks.md (two hours; ARGS="grid single": parts; ARGS=--quick: a trial)
	@$(BIN)/python -m benchmarks $(ARGS)

studies: $(STAMP) ## Train the studies of experiments/, write verdicts into docs/studies (a night; ARGS=--quick: minutes)
	@$(BIN)/harness data fetch fashion_mnist
	@$(BIN)/harness data fetch mnist
	@$(BIN)/harness studies $(if $(strip $(ARGS)),,--pages docs/studies) $(ARGS); status=$$?; \
		PYTHONPATH=docs:. $(BIN)/cog -r docs/studies/README.md; exit $$status

release-check: $(STAMP) ## Check a release: the wheel in an empty environment from the lock, links, metadata (10 minutes)
	@$(BIN)/harness data fetch fashion_mnist
	@$(uv_settings) $(BIN)/python -m tests.release $(ARGS)

calibration: $(STAMP) ## Measure on real runs how often the statistics are right, write docs/comparing.md (8 minutes)
	@$(BIN)/python -m tests.calibration --into docs/comparing.md $(ARGS)

real-runs: $(STAMP) ## Train the 408 runs that the calibration is measured on (5 minutes)
	@$(BIN)/harness data fetch fashion_mnist
	@$(BIN)/python -m benchmarks.real_runs

tutorial: $(STAMP) ## Run the commands of docs/guides.md and write their output and pictures into it
	@PYTHONPATH=docs $(BIN)/cog -r docs/guides.md

options: $(STAMP) ## Write the table of optimizers' options into docs/configuration.md, from the code
	@PYTHONPATH=docs:. $(BIN)/cog -r docs/configuration.md

lock: $(STAMP) ## Resolve requirements.lock again from pyproject.toml (ARGS=--upgrade for the newest versions)
	@$(uv_settings) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev \
		--no-header --no-annotate $(ARGS) --output-file requirements.lock pyproject.toml

clean: ## Remove .venv, caches and build products; runs and datasets stay
	rm -rf .venv benchmarks/.venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch, Lightning and JAX, the peers, in an environment of their own; Ray Tune's in a folder beside the harness's own.
# Without them the rest is measured all the same.
benchmarks/.venv/.installed: benchmarks/requirements.txt benchmarks/beside.txt | $(STAMP)
	@echo "Installing PyTorch, Lightning, JAX and Ray Tune to compare with"
	@$(BIN)/python -m venv --clear benchmarks/.venv
	@benchmarks/.venv/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target benchmarks/.venv/beside \
			-r benchmarks/beside.txt \
		&& touch $@ || echo "They could not be installed; docs/benchmarks.md will say so."

# The stamp is written last: an interrupted set-up starts again.
$(STAMP):
	@rm -f .venv/.set-up-*
	@$(BIN)/python -c '$(FITS)' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 || { $(create_environment); }
	@echo "Installing the packages of requirements.lock into .venv: $(SIZE) on the disk, one to five minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(uv_settings) $(call told,$(BIN)/uv pip sync --python $(BIN)/python requirements.lock)
# On every core, here: the first import of TensorFlow would spend its first fifteen seconds on it.
	@echo "Compiling them: a minute or two"
	@$(uv_settings) $(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	@$(uv_settings) $(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation \
		$(if $(strip $(EXTRAS)),--constraint requirements.lock,--no-deps) --editable '.$(addsuffix ],$(addprefix [,$(strip $(EXTRAS))))'
	@touch $@

define create_environment
for candidate in $(or $(strip $(PYTHON)),python3 python3.12 python3.13 python3.11 python); do \
	if $$candidate -c '$(FITS)' 2>/dev/null; then \
		echo "Making .venv with $$($$candidate --version)"; \
		exec $$candidate -m venv --clear .venv; \
	fi; \
done; \
echo "error: no Python 3.11, 3.12 or 3.13 with its venv module among: $(or $(strip $(PYTHON)),python3 python3.12 python3.13 python3.11 python)." >&2; \
echo "Install one (Debian and Ubuntu: python3 and python3-venv), or name one: make setup PYTHON=/path/to/python3.12" >&2; \
exit 1
endef

# A module's tests stay together: they share what a fixture has made. The modules begin in the order of
# tests/conftest.py, the longest first; two more at a time than there are cores, since many wait for something.
PARALLEL = --numprocesses $$(( $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 2 )) --dist loadfile --no-loadscope-reorder

# A browser is a matter of the system's packages: with the rights to install it, do; else say what is missing.
define install_browser
for candidate in chromium chromium-browser google-chrome google-chrome-stable; do \
	if command -v $$candidate >/dev/null; then exit 0; fi; \
done; \
root=; [ "$$(id -u)" = 0 ] || root="sudo -n"; \
if command -v apt-get >/dev/null && $$root true 2>/dev/null; then \
	echo "Installing Chromium"; \
	$$root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq chromium >/dev/null && exit 0; \
fi; \
echo "warning: no Chromium here; the tests of the MLflow UI will fail. Install chromium or google-chrome." >&2
endef

# The tests run their own PostgreSQL, from Debian's binaries; they fail without it.
define install_postgresql
if command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then exit 0; fi; \
root=; [ "$$(id -u)" = 0 ] || root="sudo -n"; \
if command -v apt-get >/dev/null && $$root true 2>/dev/null; then \
	echo "Installing PostgreSQL"; \
	$$root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq postgresql >/dev/null && exit 0; \
fi; \
echo "error: no PostgreSQL here (initdb), and it cannot be installed with apt-get. Install postgresql." >&2; exit 1
endef

# What uv does, as it does it, without its list of every package; and its exit code.
told = { $(1); echo $$? >.venv/.uv; } 2>&1 | sed -u '/^ [-+~] /d; s/^/  /'; exit $$(cat .venv/.uv)

# uv does not read pip's configuration. Where pip is told of a mirror, a proxy or a certificate, tell uv, for this one
# command; its own variables go first. Like pip, take the best version among all indexes.
pip_setting = $$($(BIN)/python -m pip config list | sed -n "s/^[^=]*\.$(1)='\(.*\)'$$/\1/p" | sed 's/\\n/ /g;q')
export_from_pip = value="$(call pip_setting,$(2))"; [ -z "$$value" ] || export $(1)="$${$(1):-$$value}";
define uv_settings
$(call export_from_pip,UV_DEFAULT_INDEX,index-url) \
$(call export_from_pip,UV_INDEX,extra-index-url) \
$(call export_from_pip,UV_FIND_LINKS,find-links) \
$(call export_from_pip,SSL_CERT_FILE,cert) \
$(call export_from_pip,HTTPS_PROXY,proxy) \
export UV_INDEX_STRATEGY="$${UV_INDEX_STRATEGY:-unsafe-best-match}";
endef
