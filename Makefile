# make demo    installs what is missing, builds, records three episodes from simulated devices
# make test    formatting, lints, licences, tests, and the recorder on real drivers in a virtual machine
# make test-lerobot   loads what was recorded with the real LeRobot (downloads about 3 GB once)
# make fuzz    fuzzes the parsers for a short time (needs a nightly toolchain)
# make bench   benchmarks
# make clean   removes what was built; recorded data sets stay
#
# Everything is built in the release profile, so that dependencies are compiled once.

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
.NOTPARALLEL:
.PHONY: demo build test setup-test lint deny unit vm test-lerobot fuzz bench clean

demo: build
	scripts/demo.sh

build:
	scripts/setup.sh
	cargo build --release --locked

test: setup-test lint deny unit vm

setup-test:
	scripts/setup.sh --test

lint:
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --quiet

deny:
	scripts/deny.sh

unit:
	RECORDER_PYTHON="$$(scripts/venv.sh)" RECORDER_PROMETHEUS="$$(scripts/prometheus.sh)" cargo test --release --locked --workspace

vm: build
	tests/vm/run.sh

test-lerobot: setup-test build
	scripts/test-lerobot.sh

fuzz: setup-test
	scripts/fuzz.sh

bench: build
	cargo bench --locked

clean:
	cargo clean
