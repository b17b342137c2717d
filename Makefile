# Two commands do everything on a fresh machine: `make run` and `make test`.
# Go and make are all that `make run` needs.

GO      ?= go
BIN     := bin/schoolgate
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
BENCH   ?= .

.PHONY: run build test check unit lab fuzz bench bench-audit bench-dns bench-proxy endure deps clean FORCE

## run: build the appliance and start it on loopback with the sample school
run: build
	@exec ./$(BIN) serve

## build: one static binary
build: $(BIN)

$(BIN): FORCE
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/schoolgate

## test: everything that proves the project
test: deps check unit

## check: formatting, vet, staticcheck
check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

## unit: all tests, with the race detector where there is a C compiler for it
unit: build
	@if command -v gcc >/dev/null 2>&1; then \
	  CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...; \
	else \
	  echo "SKIPPED: the race detector, which needs gcc (install it, or run make test as root)"; \
	  $(GO) test -timeout 20m ./...; \
	fi

## deps: Debian packages that tests need, installed when root
deps:
	@deploy/test-deps

## lab: a school in network namespaces, and every way round the filter tried in it (root)
lab: deps
	$(GO) test -count=1 -v -timeout 5m ./internal/testkit/lab

## fuzz: every fuzz target for a short while
fuzz:
	@deploy/fuzz 20s

## bench: the hot paths, allocations counted, each beside a peer or bare ceiling
bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./policy ./categories ./clients ./appliance ./proxy/... ./audit ./dnsfilter/... ./blocklists ./blockpage

## bench-audit: a month and more of a school indexed and searched (ROWS=20000000 events)
bench-audit:
	BENCH_ROWS=$(or $(ROWS),20000000) $(GO) test -run '^$$' -bench SchoolDays -benchtime 1x -timeout 90m ./audit/index

## bench-dns: the DNS door beside dnsdist and unbound (root installs them)
bench-dns:
	@dnsfilter/bench/bench-dns.sh

## bench-proxy: the web door beside squid and a bare Go proxy (root; installs squid; SHORT=-short for under a minute)
bench-proxy:
	@proxy/bench/bench-proxy.sh $(SHORT)

## endure: 10 GB up and down through the web door, in clear, in a tunnel and inside, in constant memory
endure:
	SCHOOLGATE_ENDURE_GB=10 $(GO) test -count=1 -v -timeout 30m -run LargeBodies ./proxy

clean:
	rm -rf bin

FORCE:
