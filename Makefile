# Two commands do everything: `make demo` and `make test`. Both install what they need.
# All heavy builds select the whole workspace, so that features, and with them the big dependencies,
# are the same in each. Build output goes to $CARGO_TARGET_DIR, by default `target/`.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PATH := $(HOME)/.cache/solo-tools/bin:$(HOME)/.cache/solo-tools/node_modules/.bin:$(HOME)/.cargo/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup build guests runtimes demo test bench soak soak-quick fuzz lint

help: ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: ## Install what building and testing needs (Debian, Ubuntu)
	@scripts/setup.sh

build: setup ## Build Solo
	@echo "== Building Solo (the first time takes about 10 minutes on 2 cores)"
	cargo build --release --workspace

guests: setup ## Build the guests in Rust and JavaScript
	@guests/setup.sh
	cargo xtask guests

runtimes: build ## Build the runtimes of languages
	@runtimes/setup.sh || echo "runtimes: a language will be missing"
	cargo xtask runtimes --allow-missing

demo: build guests runtimes ## Build, start, deploy, call, crash, kill the kernel, and show times
	@scripts/demo.sh

test: build guests runtimes ## Run all tests
	cargo nextest run --release --workspace --no-fail-fast
	cargo test --release -p solo-actor --features loom --test loom
	buf lint proto
	scripts/docs-test.sh

bench: guests ## Measure what ships, next to peers and to the floor of this machine
	@echo "== Building with link-time optimisation (the first time takes about 15 minutes on 2 cores)"
	cargo build --profile dist -p solo -p solo-bench
	"$(CARGO_TARGET_DIR)/dist/solo-bench" --plot "$(CARGO_TARGET_DIR)/growth.svg"

soak: build guests ## Crashes, kills and storms for an hour (SOAK_MINUTES=N: for N minutes); nothing may grow
	"$(CARGO_TARGET_DIR)/release/solo-bench" soak

soak-quick: build guests ## The same for two minutes
	"$(CARGO_TARGET_DIR)/release/solo-bench" soak --minutes 2

fuzz: setup ## Random and hostile tokens, capabilities and requests for ten minutes (FUZZ_SECONDS=N: for N seconds)
	@scripts/fuzz.sh

lint: ## What CI checks beside the tests
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --release -- -D warnings
	cargo xtask tidy
