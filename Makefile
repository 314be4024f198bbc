# What can be made here; `make help` lists it. Each goal brings what it needs,
# from packages to kernels; long output goes to build/*.log.

TARGET := x86_64-unknown-linux-musl
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET_DIR)/$(TARGET)/release
BINARY := $(RELEASE)/xget
# The same without what only a head needs: /init of the initramfs.
AGENT := $(RELEASE)/xget-init
PREFIX ?= /usr/local
SHARE := $(DESTDIR)$(PREFIX)/share
# What xgetctl takes of this directory: the maker of initrds, with its parts.
LIBRARY := $(wildcard initramfs/*) scripts/fetch-kernel scripts/fetch-firmware scripts/lib.sh
# Kernel for the initramfs: a Debian package, an installed version, a directory.
KERNEL ?= linux-image-amd64
MODULES ?= initramfs/modules
# Packages or directories with firmware for it: "firmware-bnx2x firmware-realtek".
FIRMWARE ?=
# Machines of `make fleet`.
N ?= 32
# What `make bench` races with; see benches/race/run --help.
RACE ?=
# What `make sim` simulates: sizes, seed, pieces of 128 KiB, scenarios whose
# names have ONLY in them; FIGURES is where the pictures go as well.
NODES ?= 1 31 1000
SEED ?= 1
PIECES ?= 2048
ONLY ?=
FIGURES ?=
# How long `make soak` takes.
MINUTES ?= 60
# What `make fuzz` runs, and for how long each; empty means all targets.
TARGETS ?=
SECONDS ?= 60
# What `make vm-tests` runs; empty means the quick ones.
SCENARIOS ?=
# rustup installs here; a shell opened before it did not know.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: build setup initramfs demo fleet test fuzz sim bench soak vm-tests size clean install help

# One by one: built together they would share the features of what both use, and
# those of xgetctl are not to be in every initramfs.
build: ## the static binaries xget, xget-init and xgetctl (the default goal)
	@scripts/setup --build
	cargo build --release --target $(TARGET) -p xget
	cargo build --release --target $(TARGET) -p xgetctl
	@scripts/check-size $(AGENT)

setup: ## install what everything below needs (Debian packages, Rust target)
	@scripts/setup

initramfs: setup build ## build/initramfs.img and build/vmlinuz (KERNEL=, MODULES=, FIRMWARE=, KEY=)
	@initramfs/build --kernel $(KERNEL) --init $(AGENT) --modules $(MODULES) \
		$(foreach name,$(FIRMWARE),--firmware $(name)) $(if $(KEY),--key $(KEY))

demo: ## a cluster from nothing: an image, a head, five bare machines, a live update
	@scripts/demo demo

fleet: ## many bare machines into that image; three are killed, four come late (N=32)
	@scripts/demo fleet -n $(N)

test: ## everything: format, lints, tests, machines
	@scripts/test

fuzz: ## hostile inputs for all that parses (SECONDS=60 each, TARGETS="manifest ...")
	@scripts/fuzz --seconds $(SECONDS) $(TARGETS)

sim: ## a table and curves of simulated clusters (NODES="1 31 10000", SEED=, ONLY=crash)
	@scripts/setup --sim
	@XGET_SIM_NODES="$(NODES)" XGET_SIM_SEED="$(SEED)" XGET_SIM_PIECES="$(PIECES)" \
	XGET_SIM_ONLY="$(ONLY)" XGET_SIM_OUT="$(CURDIR)/build/sim" \
	cargo test --quiet --profile sim -p peer --test sim -- --ignored --exact table::table_of_all
	@scripts/sim-figures build/sim $(FIGURES)

vm-tests: initramfs ## scenarios of virtual machines (SCENARIOS="one-node ...")
	@qemu-tests/run $(SCENARIOS)

bench: build ## race against other tools in network namespaces (RACE="--nodes 31 1x50M")
	@scripts/setup --bench
	@benches/race/run $(RACE)

soak: build ## an hour of kills, freezes, cuts and changes over 31 clients (MINUTES=60)
	@scripts/soak $(MINUTES)

size: ## how large the agent is, against its budget
	@scripts/check-size $(AGENT)

install: build ## the programs, man pages and completions below PREFIX (/usr/local) and DESTDIR
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BINARY) $(RELEASE)/xgetctl
	install -D -m 755 $(AGENT) $(DESTDIR)$(PREFIX)/lib/xget/xget-init
	for part in $(LIBRARY); do \
	    install -D -p "$$part" "$(DESTDIR)$(PREFIX)/lib/xget/$$part" || exit 1; \
	done
	$(RELEASE)/xgetctl man --dir $(SHARE)/man/man1
	mkdir -p $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions \
	    $(SHARE)/fish/vendor_completions.d
	install -m 644 src/xget/completions/xget.bash $(SHARE)/bash-completion/completions/xget
	install -m 644 src/xget/completions/_xget $(SHARE)/zsh/site-functions/_xget
	install -m 644 src/xget/completions/xget.fish $(SHARE)/fish/vendor_completions.d/xget.fish
	$(RELEASE)/xgetctl completion bash >$(SHARE)/bash-completion/completions/xgetctl
	$(RELEASE)/xgetctl completion zsh >$(SHARE)/zsh/site-functions/_xgetctl
	$(RELEASE)/xgetctl completion fish >$(SHARE)/fish/vendor_completions.d/xgetctl.fish

clean: ## remove all that was built (roots of images are root's)
	cargo clean
	rm -rf build || sudo rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12
