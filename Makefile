# What each target does is said behind its name; `make` prints it.
.DEFAULT_GOAL := help

TOOLS   := $(CURDIR)/bin/tools
BIN     := bin/anthill
FUZZTIME ?= 60s
# The race detector needs a C compiler; without one the tests run without it.
RACE    := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)
export PATH := $(TOOLS):$(PATH)

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: ## serve on 127.0.0.1:26866
	go run ./cmd/anthill serve

build: ## build bin/anthill
	go build -o $(BIN) ./cmd/anthill

test: ## all Go tests and black-box tests of the built binary, with the race detector
	go test $(RACE) ./...

e2e: build ## clients in other languages against the built binary (needs Node.js)
	cd e2e && npm ci --no-audit --no-fund --silent && npm test

lint: tools ## gofmt, vet, staticcheck, buf lint and breaking
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w"; exit 1; }
	go vet ./...
	staticcheck ./cmd/... ./services/... ./gateway/...
	buf lint
	./proto/breaking.sh

gen: tools ## regenerate gen/ from proto/
	./proto/generate.sh

drift: gen ## fail if gen/ is not what proto/ says
	@test -z "$$(git status --porcelain gen proto)" || { git status --short gen proto; echo "gen/ is stale: run make gen and commit it"; exit 1; }

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
	ANTHILL_SOAK=1 go test $(RACE) -count=1 -timeout 60m ./cmd/anthill/blackbox ./services/internal/store/bolt
	$(MAKE) fuzz FUZZTIME=10m

tools: ## install the pinned generators and linters into bin/tools
	@GOBIN=$(TOOLS) ./proto/tools.sh

.PHONY: help run build test e2e lint gen drift bench fuzz soak tools
