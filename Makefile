# Everything a developer runs. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
TOOL    := $(GO) tool -modfile=tools.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
SEEDS   ?= 20000
SECONDS ?= 180

.PHONY: help setup build run run-cluster test check bench mutants soak chaos ui types test-ui screenshots

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Install what is missing and build the pinned tools; safe to repeat.
	scripts/setup.sh
	$(GO) mod download
	cd bench && $(GO) mod download
	cd deploy/check && $(GO) mod download
	$(TOOL) golangci-lint version
	$(TOOL) gofumpt -version

# What npm installs, as the lock file has it.
ui/node_modules/.package-lock.json: ui/package-lock.json
	npm --prefix ui ci
	@touch $@

ui: ui/node_modules/.package-lock.json ## Build the page, which the next build of the program holds.
	npm --prefix ui run build

types: ui/node_modules/.package-lock.json ## Make the page's types anew from the served OpenAPI document.
	$(GO) test ./internal/httpapi -run TestPageStandsOnTheDocument -args -rewrite
	npm --prefix ui run types

build: ui ## Build bin/sluice, one static program with the page in it.
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sluice ./cmd/sluice

run: build ## Build, and start a server with its workers and the examples.
	@exec bin/sluice server --seed

run-cluster: build ## Start PostgreSQL, two servers and three workers on this machine; Ctrl-C ends all.
	@exec scripts/run-cluster.sh

test-ui: build ## Run the page's tests: a real server in a real browser.
	npm --prefix ui test

screenshots: build ## Draw every page in light and dark into docs/screenshots.
	npm --prefix ui run screenshots

# Under the race detector SQLite takes some thirty times as long, and so does what
# does little but ask it. These are tested without. Their code runs under it all
# the same: the engine's cases on PostgreSQL, and the tests of API, stores and worker.
PLAIN := sluice/internal/(engine|sim)

test: test-ui ## Run all tests, most of those of Go under the race detector.
	cd bench && $(GO) vet ./...
	cd deploy/check && $(GO) vet ./... && $(GO) test ./...
	$(GO) list ./... | grep -vxE '$(PLAIN)' | CGO_ENABLED=1 xargs $(GO) test -race -timeout 20m
	$(GO) list ./... | grep -xE '$(PLAIN)' | xargs $(GO) test -timeout 20m
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./internal/engine -run 'Test[ABCE][0-9]|TestFlowGrid' -args -store=postgres

check: ui/node_modules/.package-lock.json ## Look for all that the tests do not see: format, lint, vet, modules, generated files.
	@$(TOOL) gofumpt -d . || { echo 'Run: $(TOOL) gofumpt -w .' >&2; exit 1; }
	$(TOOL) golangci-lint run ./...
	$(GO) vet ./...
	$(GO) mod tidy -diff
	cd bench && $(GO) mod tidy -diff
	cd deploy/check && $(GO) mod tidy -diff
	scripts/check-modules.sh
	scripts/check-generated.sh
	npm --prefix ui run check
	for mutant in testdata/mutants/*.patch; do git apply --check "$$mutant" || exit 1; done
	for script in .ci/run scripts/*.sh examples/f/*/*.sh; do bash -n "$$script"; done

bench: ## Measure; prints a table and writes bench/out.
	cd bench && $(GO) run .

mutants: ## Break the code on purpose, once per case, and see the named test fail.
	scripts/mutants.sh

soak: ## Run many seeded worlds: SEEDS=20000.
	CGO_ENABLED=1 SLUICE_SIM_SEEDS=$(SEEDS) $(GO) test -race -count=1 -timeout 12h ./internal/sim/...

chaos: ## Kill and freeze servers, workers and the database for SECONDS=180, then judge what happened.
	CGO_ENABLED=1 SLUICE_CHAOS_SECONDS=$(SECONDS) $(GO) test -count=1 -timeout 30m -run 'TestChaos' -v ./cmd/sluice
