# What each target does is said behind its name; `make` prints it.
.DEFAULT_GOAL := help

TOOLS   := $(CURDIR)/bin/tools
BIN     := bin/anthill
FUZZTIME ?= 60s
# The race detector needs a C compiler; without one the tests run without it.
RACE    := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)
# Black-box tests that move much or wait long: make e2e runs them, without the race detector.
VOLUME  := ^Test(Fault|SendsToAgents|TerminalWS|TerminalStream)
export PATH := $(TOOLS):$(PATH)

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: ## serve on 127.0.0.1:26866
	go run ./cmd/anthill serve

build: ## build bin/anthill
	go build -o $(BIN) ./cmd/anthill

test: ## Go tests and black-box tests of the built binary, with the race detector
	go test $(RACE) -parallel 4 -timeout 24m -skip '$(VOLUME)' ./...

e2e: build e2e/node_modules/.package-lock.json ## unmodified clients, a provider in every kind of trouble, floods (needs Node.js)
	go build -o bin/openaigo ./e2e/openaigo
	cd e2e && npm test
	go test -count=1 -run '$(VOLUME)' ./cmd/anthill/blackbox

e2e/node_modules/.package-lock.json: e2e/package-lock.json
	cd e2e && npm ci --no-audit --no-fund --silent
	@touch $@

lint: tools ## gofmt, vet, staticcheck, buf lint and breaking
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w"; exit 1; }
	go vet ./...
	staticcheck ./cmd/... ./services/... ./gateway/... ./e2e/...
	buf lint
	./proto/breaking.sh

gen: tools ## regenerate gen/ and the OpenAPI document from proto/
	./proto/generate.sh

drift: gen ## fail if what is generated is not what proto/ says
	@test -z "$$(git status --porcelain gen proto gateway/docs)" || { git status --short gen proto gateway/docs; echo "what is generated is stale: run make gen and commit it"; exit 1; }

bench: build ## the rows of performance that this version has, beside their references
	cd bench && go run . -anthill ../$(BIN)
	go test ./services/internal/store/bolt -run '^$$' -bench DurableAppend -benchtime 1x

fuzz: ## every fuzz target for FUZZTIME each
	@go list ./... | while read -r pkg; do \
	  go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' | while read -r f; do \
	    echo "== $$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) "$$pkg" || exit 1; \
	  done || exit 1; \
	done

soak: ## long runs: kill -9 rounds and fuzzing
	ANTHILL_SOAK=1 go test $(RACE) -count=1 -timeout 60m ./cmd/anthill/blackbox ./services/internal/store/bolt ./services/internal/terminal
	$(MAKE) fuzz FUZZTIME=10m

tools: ## install the pinned generators and linters into bin/tools
	@GOBIN=$(TOOLS) ./proto/tools.sh

.PHONY: help run build test e2e lint gen drift bench fuzz soak tools
