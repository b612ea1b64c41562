# The same verbs on a laptop and in CI. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
PROVIDER ?= rehearsal
SOURCES := __main__.py composition.py config bootstrap components policy fleet scripts rehearsal ami examples benchmarks tests

# The longest files come first (tests/conftest.py).
SPREAD := --numprocesses 2 --dist loadfile --no-loadscope-reorder

ACTIONLINT_VERSION := 1.7.12
# What takes a minute and any checkout can use; see rehearsal/cli/location.py.
USER_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bluegreen
CACHE := $(or $(BLUEGREEN_CACHE),$(if $(filter 0,$(shell id -u)),/var/cache/bluegreen,$(USER_CACHE)))
ACTIONLINT := $(CACHE)/actionlint-$(ACTIONLINT_VERSION)
# Two runs at once must not write mypy's cache.
LOCK := $(if $(shell command -v flock),flock $(CACHE)/mypy.lock)

.DEFAULT_GOAL := help
.PHONY: help setup check format test rehearse playground playground-stop rehearse-vpn drill test-drills bench image clean lock

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

setup: .venv/ready $(BIN)/bluegreen ## Make the virtual environment with the locked packages, and `bluegreen` in it

.venv/ready: requirements-dev.txt
	$(PYTHON) scripts/cli/environment.py

# A link, as an installed console script would name this checkout for good.
$(BIN)/bluegreen: | .venv/ready
	ln -sfn ../../bluegreen $@

check: setup $(ACTIONLINT) ## Lint, format and types, on all folders; the workflows too
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(LOCK) $(BIN)/mypy --cache-dir $(CACHE)/mypy
	$(BIN)/shellcheck bluegreen .ci/run ami/provision/*.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" $(ACTIONLINT)
	$(BIN)/zizmor --offline --quiet .github

$(ACTIONLINT): | setup
	@command -v go >/dev/null || { echo "make check needs Go, which builds actionlint $(ACTIONLINT_VERSION) for the workflows:" \
		"install it (https://go.dev/doc/install), or put that actionlint at $@" >&2; exit 1; }
	mkdir -p $(CACHE)/build-$(ACTIONLINT_VERSION)
	GOBIN=$(CACHE)/build-$(ACTIONLINT_VERSION) go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)
	mv $(CACHE)/build-$(ACTIONLINT_VERSION)/actionlint $@
	rmdir $(CACHE)/build-$(ACTIONLINT_VERSION)

format: setup ## Put the code into the one format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

test: setup ## Run every test, the rehearsal among them (needs root for that one)
	@$(BIN)/python -m rehearsal.host.install tests || echo "tests that need what is missing are skipped, each with its reason"
	@$(BIN)/python -m rehearsal.cli >/dev/null || echo "tests that need the Pulumi CLI are skipped, each with this reason"
ifneq (,$(filter -m%,$(ARGS)))
	$(BIN)/python -m pytest $(SPREAD) --junit-xml=build/tests.xml $(ARGS)
else
	$(BIN)/python -m pytest -m "not (rehearsal or network or docker or drills)" $(SPREAD) --junit-xml=build/tests.xml $(ARGS)
	$(BIN)/python -m pytest -m "(network or docker) and not (rehearsal or drills)" $(SPREAD) --junit-xml=build/docker.xml $(ARGS) || test $$? -eq 5 # 5: ARGS name none of these
	# One after the other: a rehearsal measures what users meet, and three of them leave each other too little CPU.
	$(BIN)/python -m pytest -m "rehearsal and not drills" --junit-xml=build/rehearsals.xml $(ARGS) || test $$? -eq 5
endif

rehearse: setup ## Play the whole journey on this machine; report in build/rehearsal/. PROVIDER=aws: with AWS's own plugin
	$(BIN)/python -m rehearsal --provider $(PROVIDER) $(ARGS)

playground: setup ## Keep the rehearsal's stage open, with a live page; with FAULT=NAME break something in it (FAULT=list)
	@$(BIN)/python -m rehearsal.playground $(if $(FAULT),fault $(FAULT),start $(ARGS))

playground-stop: setup ## End the playground; nothing of it is left
	@$(BIN)/python -m rehearsal.playground stop

rehearse-vpn: setup ## Play the VPN alone: an office, an internet and a cloud, real IPsec; figures in build/rehearsal/vpn.json
	$(BIN)/python -m rehearsal.vpn $(ARGS)

test-drills: setup ## Play each fault once, and hold what came of it against what must
	$(BIN)/python -m pytest -m drills --junit-xml=build/drills.xml $(ARGS)

drill: setup ## Play each fault on this machine while users are served; figures in build/rehearsal/drills.json
	$(BIN)/python -m rehearsal.drills $(ARGS)

bench: setup ## Measure what the program and the boot cost; figures in build/benchmarks.json
	$(BIN)/python -m benchmarks $(ARGS)

image: ## Build the machine image in AWS_REGION, with Packer and the AWS credentials of the environment
	@test -n "$(AWS_REGION)" || { echo "make image needs AWS_REGION: the region to build the machine image in" >&2; exit 2; }
	packer init ami
	packer build -var region="$(AWS_REGION)" -var git_commit="$$(git rev-parse HEAD)" ami

clean: setup ## Remove what dead rehearsals left, and the caches
	$(BIN)/python -m rehearsal.host.sandbox sweep
	rm -rf build .mypy_cache .ruff_cache .pytest_cache

lock: setup ## Resolve the packages of pyproject.toml anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --generate-hashes --python-version 3.11 --no-header --no-annotate pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --generate-hashes --python-version 3.11 --no-header --no-annotate --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
