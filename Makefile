# SPDX-License-Identifier: GPL-2.0
# MMU notifiers for Linux 7.3: everything that is built and run.
# All of it goes below $(BUILD), which can be deleted at any time.

BUILD	?= build
ARCH	?= x86_64

bed	:= testbed
py	:= PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 python3
config	:= $(bed)/machine/config

# What runs where, the main job first; what the machine of each needs.
guests_x86_64	:= linux-guest small-guest
guests_arm64	:= small-guest
checks_arm64	:= kunit races mirror guests
checked_debug	:= kunit races samples mirror
packages_x86_64	:= qemu-system-x86
packages_arm64	:= qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross
arches	:= x86_64 arm64
guests	= $(guests_$(ARCH))

# Build directories of an architecture: build/kernel is x86_64's.
on	:= $(patsubst %,-%,$(filter-out x86_64,$(ARCH)))
kernel	:= $(BUILD)/kernel$(on)
fragments := $(config)/base.config $(config)/$(ARCH).config $(config)/kunit.config

# Options of "make run". Empty: the default of the job. What small guests consist of
# and go through: testbed/machine/variant.py.
GUEST	?= $(if $(MEMORY)$(FAULT)$(MEMCG_MB),small-guest,$(firstword $(guests)))
MEMORY	?=
FAULT	?=
MEMCG_MB ?=
HOST_MB	?=
GUEST_MB ?=
GUESTS	?=
PASSES	?=
SEED	?=
SWAP	?=
LRU	?= mglru
REPEAT	?=

# Variants of "make faults", by default all.
VARIANTS ?=

# Operations of "make mirror"; to have nobody but the mirror with invalidate_page, so
# that flushes are deferred: ALONE=1; to break it on purpose: one in BROKEN
# invalidations ignored, or the count (BLIND=1).
OPS	?= 200000
ALONE	?=
BROKEN	?=
BLIND	?=

# Architectures of "make clients", by default all; Debian 12 has none of loongarch.
ARCHES	?=
compilers := gcc-aarch64-linux-gnu gcc-powerpc64le-linux-gnu gcc-s390x-linux-gnu
compilers := $(compilers) gcc-riscv64-linux-gnu gcc-mips64el-linux-gnuabi64

# Rows of "make peers", by default all, and what the suites link with.
TESTS	?=
libraries := liburing-dev libnuma-dev libcap-dev rsync

# What "make rdma" puts into its machines.
verbs	:= iproute2 libibverbs-dev python3-pyverbs

# Tools of "make lint", by default all, and what they need.
TOOLS	?=
linters	:= codespell ocaml-findlib ocaml-nox python3-git python3-ply python3-sphinx shellcheck sparse

# Measures of "make bench", by default all, and runs of each kernel.
MEASURES ?=
TURNS	?=

# Options of "make series": onto Linux as it is, and in the caller's name.
AGAINST	?=
SIGNOFF	?=

# Of "make check-series", by default all: numbers of patches.
PATCHES	?=

# Hooks of "make mutate", by default all: files, folders or kinds ("rule"), or a
# sample (SAMPLE=changed) for what differs from a revision, by default of a day before.
# Judged by SUITES (lifetime,order), by default all.
HOOKS	?=
SAMPLE	?=
BASE	?=
SUITES	?=

# Everything a table of notifier calls needs.
trace	:= mmu_notifier/mmu_notifier_invalidate_page:event
trace	:= $(trace),mmu_notifier/mmu_notifier_range_start:folio
trace	:= $(trace),mmu_notifier/mmu_notifier_young:op
ifeq ($(ARCH),x86_64)
trace	:= $(trace),kvmmmu/kvm_mmu_retry_fault:section
endif

# Counts and times the callbacks of each subscriber.
count	:= /sys/kernel/debug/mmu_notifier/enabled:1

opt	= $(if $($(1)),$(2) $($(1)))
build_kernel = $(py) $(bed)/machine/build_kernel.py --arch $(ARCH) $(BUILD)/tree

.DEFAULT_GOAL := help
.PHONY: help arch deps base mainline tree refresh check-refresh series check-series kernel options \
	run model check samples rdma faults mirror mirror-debug mirror-pages mutate clients peers bench debug-kernel \
	pages-kernel x86-only kcsan-kernel run-debug check-debug check-kcsan lint clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Options of run: ARCH=x86_64|arm64 GUEST=linux-guest|small-guest (arm64: small-guest) SWAP=zram|disk LRU=mglru|classic HOST_MB= GUEST_MB= GUESTS= PASSES= SEED= REPEAT='
	@echo 'With small guests: MEMORY=anon|thp|ksm|shmem|file FAULT=kill|oom|swap-full|memslots MEMCG_MB='

arch:
ifeq ($(filter $(ARCH),$(arches)),)
	@echo 'ARCH=$(ARCH) is not supported; choose one of: $(arches).' >&2; exit 2
else ifeq ($(filter $(GUEST),$(guests)),)
	@echo 'GUEST=$(GUEST) is not there on $(ARCH); choose one of: $(guests).' >&2; exit 2
endif

deps: arch ## Install the packages that the other targets need (as root)
	@$(bed)/deps $(BUILD) $(packages_$(ARCH))

base: deps ## Fetch Linux 7.3.4, verify it, remove mainline's MMU notifiers
	@$(py) $(bed)/base/base.py base --build $(BUILD)

tree: base ## Write build/tree: a git work tree, one commit a patch
	@$(py) $(bed)/tree/tree.py tree --build $(BUILD)

mainline: deps ## Write build/mainline: Linux 7.3.4 as it is, to compare with
	@$(py) $(bed)/base/base.py mainline --build $(BUILD)

refresh: ## Write the state of build/tree back to the repository
	@$(py) $(bed)/tree/tree.py refresh --build $(BUILD)

check-refresh: ## Fail if refresh would change anything
	@$(py) $(bed)/tree/tree.py check-refresh --build $(BUILD)

series: tree ## Write the mail series to build/series (AGAINST=mainline: build/series-mainline; SIGNOFF=1)
	@$(py) $(bed)/tree/mail.py --build $(BUILD) $(call opt,AGAINST,--against) $(if $(SIGNOFF),--signoff)

check-series: series ## Build and boot each patch, KVM and notifiers on and off, both architectures (AGAINST=mainline PATCHES="3 10")
	@$(bed)/deps $(BUILD) $(foreach arch,$(arches),$(packages_$(arch)))
	@$(py) $(bed)/tree/steps.py $(call opt,AGAINST,--against) $(BUILD) $(PATCHES)

kernel: tree ## Build the kernel of the machine
	@$(build_kernel) $(kernel) $(fragments)

run_job = $(py) $(bed)/machine/run.py --kernel $(kernel) --out $(BUILD)/run$(on) \
	--job $(GUEST) --lru $(LRU) --trace $(trace) --write $(count) --picture \
	$(call opt,SWAP,--swap) $(call opt,MEMORY,--memory) $(call opt,FAULT,--fault) \
	$(call opt,MEMCG_MB,--memcg-mb) $(call opt,HOST_MB,--host-mb) \
	$(call opt,GUEST_MB,--guest-mb) $(call opt,GUESTS,--guests) \
	$(call opt,PASSES,--passes) $(call opt,SEED,--seed) $(call opt,REPEAT,--repeat)

# Options that exclude each other are told before anything is built.
options: deps
	@$(run_job) --only-check

run: options kernel ## The main job: a KVM guest larger than its host's memory swaps, its data is verified
	@$(bed)/deps $(BUILD) gnuplot-nox
	@$(run_job)

model: deps ## Search the Promela models of registration, sections and teardown
	@$(py) $(bed)/model/model.py $(BUILD)

check: kernel mainline ## All tests: conversion, removal, lint, models, KUnit, races, samples, guests, mutants
	@$(bed)/deps $(BUILD) $(linters)
	@$(py) $(bed)/check.py --kernel $(notdir $(kernel)) $(BUILD) $(checks_$(ARCH))

samples: kernel ## GRU, XPMEM and the sample driver at work, each tested: a table (PASSES=: longer)
	@$(py) $(bed)/samples/samples.py --kernel $(notdir $(kernel)) $(call opt,PASSES,--passes) $(BUILD)

rdma: tree mainline ## Soft-RoCE writes to memory that swaps, rdma-core's own tests; mainline's and ours: a table
	@$(bed)/deps $(BUILD) $(verbs)
	@$(py) $(bed)/rdma/rdma.py $(call opt,PASSES,--passes) $(BUILD)

faults: kernel ## Guests that swap while one is killed, swap is full, slots change, ...: a table (VARIANTS="kill oom")
	@$(py) $(bed)/faults/faults.py --kernel $(notdir $(kernel)) $(BUILD) $(VARIANTS)

mirror: kernel ## Random operations on mirrored memory, stale translations looked for (OPS= SEED= REPEAT= ALONE=1)
mirror-debug: debug-kernel ## The same on the debug kernel
mirror-pages: pages-kernel ## The same where pages and page tables are checked, not locks: faster
mirror: mirrored := kernel$(on)
mirror-debug: mirrored := debug$(on)
mirror-pages: mirrored := pages$(on)
mirror mirror-debug mirror-pages:
	@$(py) $(bed)/machine/run.py --kernel $(BUILD)/$(mirrored) --out $(BUILD)/$@$(on) \
		--job mirror --operations $(OPS) --silence 600 $(call opt,SEED,--seed) \
		$(call opt,REPEAT,--repeat) $(call opt,ALONE,--page-alone) \
		$(call opt,BROKEN,--broken) $(call opt,BLIND,--blind)

mutate: kernel ## Take out each hook, break each rule in turn: which test notices? (HOOKS="mm/rmap.c fs rule" SAMPLE=changed BASE=HEAD~1)
	@$(py) $(bed)/mutate/mutate.py $(BUILD) $(call opt,SAMPLE,--sample) $(call opt,BASE,--base) \
		$(call opt,SUITES,--suites) $(HOOKS)

clients: tree ## Compile every subscriber of the kernel (ARCHES="x86_64 arm64 ...")
	@$(bed)/deps $(BUILD) $(compilers)
	@$(py) $(bed)/clients/clients.py $(BUILD) $(ARCHES)

peers: tree mainline ## The kernel's own suites on mainline and on ours, side by side (TESTS="mm/* kvm/*")
	@$(bed)/deps $(BUILD) $(libraries)
	@$(py) $(bed)/peers/peers.py $(BUILD) $(TESTS)

bench: tree mainline ## Mainline against ours, measured: table, CSV, SVG (an hour the first time; MEASURES="guest smp work hold cost events pages process vmas notifier parallel" TURNS=)
	@$(bed)/deps $(BUILD) gnuplot-nox
	@$(py) $(bed)/bench/bench.py $(BUILD) $(MEASURES) $(call opt,TURNS,--turns)

debug-kernel: tree ## Build the kernel with lockdep, KASAN and the like
	@$(build_kernel) $(BUILD)/debug$(on) $(fragments) $(config)/checks.config $(config)/debug.config

pages-kernel: tree ## Build the kernel that checks pages, page tables and lists
	@$(build_kernel) $(BUILD)/pages$(on) $(fragments) $(config)/checks.config $(config)/pages.config

# KCSAN watches what is ours, and KVM's use of the counts.
watched := $(notdir $(patsubst %.c,%.o,$(wildcard mm/mmu_*.c virt/kvm/mmu_*.c lib/tests/mmu_*.c)))
watched := $(watched) kvm_main.o pfncache.o

# What this computer's own architecture alone has.
x86-only:
ifneq ($(ARCH),x86_64)
	@echo 'This is there on x86_64 only, not with ARCH=$(ARCH).' >&2; exit 2
endif

kcsan-kernel: x86-only tree ## Build the kernel that looks for data races (x86-64)
	@$(build_kernel) $(BUILD)/kcsan --variable KCSAN_SANITIZE=n \
		$(foreach object,$(watched),--variable KCSAN_SANITIZE_$(object)=y) \
		$(fragments) $(config)/kcsan.config

# Those guests that go on, three or the only one, are larger than the host.
run-debug: debug-kernel ## A small guest swaps on the debug kernel (5 minutes; MEMORY= FAULT=, which take up to 40)
	@$(py) $(bed)/machine/run.py --kernel $(BUILD)/debug$(on) --out $(BUILD)/run-debug$(on) \
		--job small-guest --host-mb 384 --guest-mb $(if $(filter-out memslots,$(FAULT)),139,416) \
		$(call opt,MEMORY,--memory) $(call opt,FAULT,--fault) \
		--passes 1 --silence 600 --limit $(if $(filter-out memslots,$(FAULT)),3600,1200)

check-debug: debug-kernel ## KUnit, races, samples and the mirror on the kernel with lockdep and KASAN
	@$(py) $(bed)/check.py --kernel debug$(on) $(BUILD) $(or $(checks_$(ARCH)),$(checked_debug))

check-kcsan: kcsan-kernel ## The same tests, data races looked for (x86-64)
	@$(py) $(bed)/check.py --kernel kcsan $(BUILD) $(checked_debug)

lint: tree mainline ## What the kernel's own tools say, of ours and of mainline (8 minutes; TOOLS="checkpatch sparse ...")
	@$(bed)/deps $(BUILD) $(linters)
	@$(py) $(bed)/lint/lint.py $(BUILD) $(TOOLS)

clean: ## Delete everything that was built, keep what was downloaded
	rm -rf $(foreach dir,kernel debug pages kcsan run run-debug mirror mirror-debug mirror-pages,$(BUILD)/$(dir) $(BUILD)/$(dir)-arm64) \
		$(BUILD)/check $(BUILD)/lint $(BUILD)/series $(BUILD)/series-mainline $(BUILD)/baseline $(BUILD)/clients \
		$(BUILD)/peers $(BUILD)/bench $(BUILD)/model $(BUILD)/samples $(BUILD)/mutate $(BUILD)/faults \
		$(BUILD)/rdma $(BUILD)/steps
