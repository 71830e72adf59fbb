# Every stage has a hard time limit, so that one that hangs fails alone and soon.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := $(CURDIR)/.bin
OUT := $(CURDIR)/.build
export PATH := $(BIN):$(PATH)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
PACKAGES ?= ./...
# The race detector needs cgo and a C compiler.
RACE := $(if $(shell command -v gcc),-race)
CGO_FOR_TESTS := $(if $(RACE),1,0)
LIMIT = timeout --kill-after=10s

comma := ,

GOTOOL = mkdir -p $(BIN) && $(LIMIT) 600s go build -trimpath -o $@ -modfile=$<

.PHONY: help tools generate docs check-generate lint lint-python format test test-python test-postgres bench bench-compare bench-growth bench-guard fuzz fuzz-diff check build image run serve conformance compat chaos soak licenses sbom reproducible upgrade clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(BIN)/buf: tools/buf/go.mod
	$(GOTOOL) github.com/bufbuild/buf/cmd/buf
$(BIN)/sqlc: tools/sqlc/go.mod
	export CGO_ENABLED=0; $(GOTOOL) github.com/sqlc-dev/sqlc/cmd/sqlc
$(BIN)/golangci-lint: tools/lint/go.mod
	$(GOTOOL) github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(BIN)/gotestsum: tools/dev/go.mod
	$(GOTOOL) gotest.tools/gotestsum
$(BIN)/gofumpt: tools/dev/go.mod
	$(GOTOOL) mvdan.cc/gofumpt

tools: $(BIN)/buf $(BIN)/sqlc $(BIN)/golangci-lint $(BIN)/gotestsum $(BIN)/gofumpt ## Build the development tools into .bin

WORKER_DESCRIPTORS := workers/python/src/kneo_worker/worker.binpb

generate: $(BIN)/buf $(BIN)/sqlc ## Generate code from api/ and sql/
	$(LIMIT) 60s buf lint
	$(LIMIT) 60s buf format -w api
	$(LIMIT) 300s buf generate
	$(LIMIT) 60s buf build api --path api/kneo/v1/worker.proto --as-file-descriptor-set --exclude-source-info -o $(WORKER_DESCRIPTORS)
	$(LIMIT) 120s sqlc generate

docs: ## Write the generated pages of docs/
	$(LIMIT) 300s go run ./internal/docgen

check-generate: generate ## Fail when the generated code is not up to date
	git diff --exit-code --stat -- api gen $(WORKER_DESCRIPTORS)
	@test -z "$$(git status --porcelain -- api gen $(WORKER_DESCRIPTORS))" || { git status --short -- api gen $(WORKER_DESCRIPTORS); exit 1; }

lint: $(BIN)/buf $(BIN)/golangci-lint lint-python ## Lint protos, Go and Python
	$(LIMIT) 60s buf lint
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null); if [ -n "$$tag" ]; then $(LIMIT) 120s buf breaking --against ".git#tag=$$tag"; else echo 'buf breaking: no tag yet, nothing to compare with'; fi
	$(LIMIT) 60s buf format -d --exit-code api
	$(LIMIT) 600s golangci-lint run --allow-parallel-runners --timeout 9m $(PACKAGES)

format: $(BIN)/gofumpt $(BIN)/buf ## Format Go and protos
	$(LIMIT) 60s gofumpt -w cmd internal test client worker embed 2>/dev/null || true
	$(LIMIT) 60s buf format -w api

PYTHON ?= python3
PYTHON_ENV := $(OUT)/python
PYTHON_READY := $(PYTHON_ENV)/.ready

$(PYTHON_READY): workers/python/requirements-dev.txt
	mkdir -p $(OUT) && $(LIMIT) 60s $(PYTHON) -m venv --clear $(PYTHON_ENV)
	$(LIMIT) 180s $(PYTHON_ENV)/bin/pip install --quiet --disable-pip-version-check -r workers/python/requirements-dev.txt
	touch $@

test-python: $(PYTHON_READY) ## Run the tests of the Python worker
	cd workers/python && PYTHONDONTWRITEBYTECODE=1 $(LIMIT) 120s $(PYTHON_ENV)/bin/pytest -q -p no:cacheprovider

lint-python: $(PYTHON_READY) ## Check style and types of the Python worker
	cd workers/python && $(LIMIT) 60s $(PYTHON_ENV)/bin/ruff check --no-cache . && $(LIMIT) 120s $(PYTHON_ENV)/bin/mypy --cache-dir=$(OUT)/mypy

test: $(BIN)/gotestsum test-python ## Run all tests, with the race detector where there is a C compiler
	@mkdir -p $(OUT)
	KNEO_TEST_PYTHON=$(PYTHON_ENV)/bin/python CGO_ENABLED=$(CGO_FOR_TESTS) $(LIMIT) 1500s gotestsum --format pkgname-and-test-fails --junitfile $(OUT)/junit.xml \
		-- $(RACE) -timeout 12m $(PACKAGES)

test-postgres: ## Run what needs PostgreSQL on the server programs in PG_BIN
	KNEO_TEST_PG_BIN=$(PG_BIN) $(LIMIT) 900s go test -count=1 ./internal/store/postgres ./test/scenario ./test/replica

bench: ## Run the benchmarks once each
	$(LIMIT) 900s go test -run '^$$' -bench . -benchmem -benchtime 200ms -timeout 14m $(PACKAGES)

bench-compare: ## Measure this build on both stores against REFERENCE (a kneo program of the reference) and BEFORE (another build), where given
	@mkdir -p $(OUT)
	CGO_ENABLED=0 $(LIMIT) 600s go build -trimpath -ldflags '$(LDFLAGS)' -o $(OUT)/kneo ./cmd/kneo
	$(LIMIT) 600s go build -o $(OUT)/load ./test/load
	$(LIMIT) 7200s $(OUT)/load compare -kneo $(OUT)/kneo $(if $(REFERENCE),-reference $(REFERENCE)) $(if $(BEFORE),-before $(BEFORE)) -postgres \
		-rounds $(or $(ROUNDS),3) $(if $(ONLY),-only $(ONLY)) -out $(OUT)/compare.md

bench-growth: ## Measure how costs grow with stored runs, up to SIZES, on both stores
	@mkdir -p $(OUT)
	$(LIMIT) 600s go build -o $(OUT)/growth ./test/growth
	$(LIMIT) 3600s $(OUT)/growth -store sqlite -sizes $(or $(SIZES),1000$(comma)10000$(comma)100000$(comma)1000000) | tee $(OUT)/growth-sqlite.md
	$(LIMIT) 3600s $(OUT)/growth -store postgres -sizes $(or $(SIZES),1000$(comma)10000$(comma)100000$(comma)1000000) | tee $(OUT)/growth-postgres.md

bench-guard: ## Fail when a key path allocates more than the base commit's build does (BASE, by default the commit before)
	$(LIMIT) 900s test/guard/run $(BASE)

fuzz: ## Run every fuzz test for a few seconds, those of the spec language for a minute
	$(LIMIT) 600s tools/fuzz 5s 60s

fuzz-diff: ## Compare random requests with the REFERENCE for DURATION (default 5m); cases that differ go to test/fuzzdiff/corpus
	@mkdir -p $(OUT)
	CGO_ENABLED=0 $(LIMIT) 600s go build -trimpath -ldflags '$(LDFLAGS)' -o $(OUT)/kneo ./cmd/kneo
	$(LIMIT) 600s go build -o $(OUT)/fuzzdiff ./test/fuzzdiff
	$(LIMIT) 7200s $(OUT)/fuzzdiff -kneo $(OUT)/kneo -reference $(REFERENCE) -duration $(or $(DURATION),5m) $(if $(SEED),-seed $(SEED))

check: lint check-generate test fuzz ## Everything that must hold before a commit

build: ## Build the static binary .build/kneo
	@mkdir -p $(OUT)
	CGO_ENABLED=0 $(LIMIT) 600s go build -trimpath -ldflags '$(LDFLAGS)' -o $(OUT)/kneo ./cmd/kneo

IMAGE ?= kneo
CONTAINER ?= docker

image: ## Build the container image IMAGE (kneo) with CONTAINER (docker)
	$(LIMIT) 1800s $(CONTAINER) build -f deploy/docker/Dockerfile --build-arg VERSION=$(VERSION) -t $(IMAGE):$(VERSION) -t $(IMAGE):latest .

run: build ## Build, run an example on the embedded store, print its result
	$(OUT)/kneo run examples/hello.yaml --input hello

serve: build ## Build and serve on 127.0.0.1:8000
	$(OUT)/kneo service serve

conformance: build ## Run the conformance suite that lies beside the repository
	$(LIMIT) 1500s test/conformance/run

chaos: ## Disturb three processes and their database for ten minutes under 2,000 runs
	KNEO_CHAOS_RUNS=2000 KNEO_CHAOS_SECONDS=600 $(LIMIT) 1500s go test ./test/chaos -run Chaos -count=1 -v -timeout 24m

soak: ## Load one process at 70 % of its capacity for 20 minutes; figures in .build/soak.txt
	@mkdir -p $(OUT)
	KNEO_SOAK_SECONDS=$${KNEO_SOAK_SECONDS:-1200} KNEO_SOAK_OUT=$(OUT)/soak.txt $(LIMIT) 1500s go test ./test/chaos -run Soak -count=1 -v -timeout 24m

licenses: ## List all dependencies with their licences; fails on one that is not allowed
	$(LIMIT) 300s go run ./tools/licenses

sbom: ## Write .build/kneo.cdx.json, the bill of materials in CycloneDX
	@mkdir -p $(OUT)
	$(LIMIT) 300s go run ./tools/licenses -sbom -version $(VERSION) > $(OUT)/kneo.cdx.json

reproducible: ## Build the committed state twice and compare the bytes
	$(LIMIT) 900s tools/reproducible

compat: build ## Run the published clients against the built server
	$(LIMIT) 240s test/compat/run

upgrade: ## Restart replicas of the previous commit one after another as this one, on one database
	$(LIMIT) 900s tools/upgrade

clean: ## Remove build results
	rm -rf $(OUT)
