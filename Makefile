# `make test` checks everything, and first installs what that needs. It asks the machine for Rust, a C
# compiler, Python 3 with pip and, for the browser, apt (as root or with sudo): the packages' names are
# Debian's. Elsewhere install a Chromium with its chromedriver first, and apt is not asked.

CARGO  ?= cargo
PYTHON ?= python3
SUDO   := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
APT    := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get
VENV   := .venv
OPENAI := 3.54.0
MCP    := 2.3.0
HTTPX_SSE := 0.4.3
SCHEMATHESIS := 4.32.5
AUTODIDACT_BIN := $(abspath $(or $(CARGO_TARGET_DIR),target)/debug/autodidact)
MODELS := smollm2-135m-instruct qwen2.5-coder-0.5b-instruct
# The model of the README's picture: the one that is served by default.
PICTURED ?= qwen2.5-coder-0.5b-instruct
# Fetched to where the tests look, whatever an autodidact.toml here says.
models test-rust test-browser test-mistralrs screenshot: export AUTODIDACT_MODELS ?= $(HOME)/.cache/autodidact/models
test-browser test-schema: export AUTODIDACT_BIN := $(AUTODIDACT_BIN)

.PHONY: run test lint rust-tools build-tests test-rust test-browser test-schema test-mistralrs docs-check models browser screenshot clean-test-tools

run: ## Build and serve the default model on http://127.0.0.1:8080
	$(CARGO) run --release

test: lint test-rust test-schema test-browser ## Everything; `.ci/run` calls this

lint: rust-tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(PYTHON) bench/paired.py --self-test

# A toolchain of rustup's minimal profile lacks them.
rust-tools:
	@{ $(CARGO) fmt --version && $(CARGO) clippy --version; } >/dev/null 2>&1 \
	  || rustup component add rustfmt clippy \
	  || { echo 'rustfmt and clippy are missing, and rustup is not here to add them: install both for your Rust.' >&2; exit 1; }

test-rust: models $(VENV)/clients
	$(CARGO) test --workspace
	# A processor with AMX multiplies once more as one without.
	AUTODIDACT_AMX=0 $(CARGO) test --workspace --lib --test main -- cpu::

test-browser: build-tests browser
	tests/browser/run

test-schema: build-tests $(VENV)/clients ## The real server against its openapi.json
	tests/schemathesis/run

# `cargo build` resolves other cargo features than `cargo test`, and would compile the dependencies again.
build-tests:
	$(CARGO) test --workspace --no-run

# Not a part of `test`: mistralrs brings some 350 crates more.
test-mistralrs: ## Build with mistralrs and let it run the default model
	$(CARGO) run --quiet -- model fetch qwen2.5-coder-0.5b-instruct
	$(CARGO) test --features mistralrs --test mistralrs

docs-check: ## Broken links and bad markup in the API documentation
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --workspace --no-deps --document-private-items

models: build-tests ## The models the tests use (600 MB, fetched once)
	for model in $(MODELS); do $(AUTODIDACT_BIN) model fetch $$model || exit 1; done

# The official client libraries, for tests that speak to the server as its users do.
$(VENV)/clients: Makefile
	$(PYTHON) -m venv $(VENV) || { $(APT) update && $(APT) install -y python3-venv && $(PYTHON) -m venv --clear $(VENV); }
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check openai==$(OPENAI) mcp==$(MCP) \
	  httpx==0.28.1 httpx-sse==$(HTTPX_SSE) schemathesis==$(SCHEMATHESIS)
	touch $@

browser:
	command -v chromedriver >/dev/null && command -v chromium >/dev/null \
	  || { $(APT) update && $(APT) install -y --no-install-recommends chromium chromium-driver; }

screenshot: browser ## The README's picture, made anew from the real server
	$(CARGO) run --release --quiet -- model fetch $(PICTURED)
	tests/browser/screenshot --model $(PICTURED)

clean-test-tools: ## Forget the Python environment
	rm -rf $(VENV)
