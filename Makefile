# The commands of the project. `make mount` is the first one to try; README.md has the rest.

PREFIX  ?= /usr/local
DESTDIR ?=
# mount(8) looks for its helpers here, and nowhere else.
SBINDIR ?= /sbin
CARGO   ?= cargo
TARGET  := $(or $(CARGO_TARGET_DIR),target)
BIN     := $(TARGET)/release/muxfs
# Where `make mount` mounts; empty: /mux where it may be, else the runtime directory.
DIR     ?=

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help mount umount tour build test test-agents soak bench man screenshot install uninstall clean

help:
	@echo 'make mount      build, mount, and print what to try'
	@echo 'make umount     unmount it again'
	@echo 'make test       format, lints and all tests'
	@echo 'make test-agents  the tests with real agents that are too large for every run'
	@echo 'make soak       hours of use in minutes'
	@echo 'make bench      measure'
	@echo 'make screenshot  draw the picture of the README anew'
	@echo 'make install    PREFIX=$(PREFIX) DESTDIR=$(DESTDIR); make uninstall takes it away'

build:
	@.ci/need run
	$(CARGO) build --release --locked

# Sets $$dir: DIR, or /mux (made once, where this user may), or a directory of the login.
define FIND_DIR
dir='$(DIR)'; \
if [ -z "$$dir" ]; then \
  if [ ! -e /mux ]; then \
    if [ "$$(id -u)" = 0 ]; then install -d -o "$${SUDO_USER:-root}" /mux; \
    elif command -v sudo >/dev/null; then sudo -n install -d -o "$$(id -un)" /mux 2>/dev/null || true; fi; \
  fi; \
  dir=/mux; \
  if ! findmnt -n -t fuse.muxfs /mux >/dev/null && ! [ -d /mux -a -w /mux ]; then \
    dir="$${XDG_RUNTIME_DIR:-/tmp/muxfs-$$(id -u)}/mux"; \
    mkdir -p -m 700 "$$(dirname "$$dir")"; [ -e "$$dir" ] || mkdir "$$dir" 2>/dev/null || true; \
  fi; \
fi
endef

define TOUR
awk '/^<!-- tour -->/ { t = 1; next } t && /^```sh/ { p = 1; next } p && /^```/ { exit } p' README.md \
  | sed "s|MUX=/mux|MUX=$$dir|; s|^|    |"
endef

# Under sudo the sessions are those of the user who called it: nothing of tmux runs as root.
mount: build
	@$(FIND_DIR); \
	if findmnt -n -t fuse.muxfs "$$dir" >/dev/null && ls "$$dir" >/dev/null 2>&1; then \
	  echo "mounted already: $$dir"; \
	else \
	  $(BIN) mount $${SUDO_USER:+-o setuid=$$SUDO_USER} "$$dir"; \
	  echo "mounted: $$dir"; \
	fi; \
	echo; echo 'Try this, line by line:'; echo; \
	$(TOUR)

# The commands of the README, for the directory at hand.
tour:
	@dir='$(or $(DIR),/mux)'; $(TOUR)

umount:
	@$(FIND_DIR); $(BIN) umount "$$dir"

# Without nextest a test that hangs is not ended, so it is installed; without a registry the
# tests run all the same. What the tests leave behind is a failure too.
test:
	@.ci/need test
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@if ! $(CARGO) nextest --version >/dev/null 2>&1; then \
	  $(CARGO) install cargo-nextest --locked || echo 'cargo-nextest could not be installed: cargo test instead'; \
	fi
	@run=$$$$; failed=0; \
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  MUXFS_TEST_RUN=$$run $(CARGO) nextest run --locked || failed=1; \
	else \
	  MUXFS_TEST_RUN=$$run $(CARGO) test --locked -- --test-threads=4 || failed=1; \
	fi; \
	.ci/left $$run || failed=1; \
	exit $$failed

# Ignored tests, named real_agent…: gigabytes of agents are installed first. MUXFS_PROMPTS=7 disturbs each
# agent as often as was measured, for hours.
test-agents:
	@.ci/need agents
	MUXFS_PROMPTS=$${MUXFS_PROMPTS:-1} $(CARGO) nextest run --locked --run-ignored only --test-threads 2 -E 'test(/\breal_agent/)'

# Ignored tests, named soak…, on the program as it is released; before them 50,000 cases of every
# random property, and 50,000 random operations on a node. What they find stays as a plain test.
soak:
	@.ci/need test
	PROPTEST_CASES=50000 MUXFS_CASES=3500 $(CARGO) nextest run --locked --release --profile long \
	  -E 'kind(lib) | test(/^model::/)'
	$(CARGO) nextest run --locked --release --profile long --run-ignored only --no-capture -E 'test(/\b$@/)'

# Prints the table of docs/benchmarks.md; UPDATE=1 puts it there. ONLY=few, many, flood, agents or fleet: a
# part of it.
bench:
	@.ci/need run
	$(CARGO) build --release --locked --example fake-agent
	$(CARGO) bench --locked --bench speed -- $(ONLY)

# The manual pages and docs/reference.md, printed anew from the program's tables.
man:
	UPDATE=1 $(CARGO) test --locked --test it doc::

# The picture of the README, from a run in a real terminal, with a real mount and the fake agent.
screenshot:
	@.ci/need test
	$(CARGO) build --locked --example fake-agent
	UPDATE=1 $(CARGO) test --locked --test it the_readmes_picture

# Under sudo there is often no cargo, and root must not build in a user's tree: what they built is
# installed then.
install:
	@if [ "$$(id -u)" = "$$(stat -c %u Makefile)" ] && { command -v $(CARGO) >/dev/null || [ ! -x '$(BIN)' ]; }; then \
	  $(MAKE) --no-print-directory build; \
	elif [ ! -x '$(BIN)' ]; then \
	  echo "$(BIN) is not there: first 'make build' as $$(stat -c %U Makefile), then 'sudo make install'" >&2; exit 1; \
	fi
	install -D -m 755 $(BIN) "$(DESTDIR)$(PREFIX)/bin/muxfs"
	install -d "$(DESTDIR)$(SBINDIR)"
	ln -sfn "$(PREFIX)/bin/muxfs" "$(DESTDIR)$(SBINDIR)/mount.fuse.muxfs"
	install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/man/man1" man/*.1
	install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/man/man5" man/*.5
	install -d "$(DESTDIR)$(PREFIX)/share/bash-completion/completions" \
	  "$(DESTDIR)$(PREFIX)/share/zsh/site-functions" "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d"
	$(BIN) completions bash > "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/muxfs"
	$(BIN) completions zsh > "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_muxfs"
	$(BIN) completions fish > "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/muxfs.fish"

# Sessions, state and config stay: they are the user's.
uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/muxfs" "$(DESTDIR)$(SBINDIR)/mount.fuse.muxfs" \
	  $(addprefix "$(DESTDIR)$(PREFIX)/share/man/man1"/,$(notdir $(wildcard man/*.1))) \
	  $(addprefix "$(DESTDIR)$(PREFIX)/share/man/man5"/,$(notdir $(wildcard man/*.5))) \
	  "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/muxfs" \
	  "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_muxfs" \
	  "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/muxfs.fish"

clean:
	$(CARGO) clean
