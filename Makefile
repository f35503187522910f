# SPDX-License-Identifier: GPL-2.0
#
# Everything that is built goes to build/. `make help` lists the targets.

# One of the kernels that tests/vm/kernel knows. Empty: what runs in the guest
# runs on 6.1, and `make modules` builds for the kernel of this machine.
KERNEL	?=
# The test programs that `make check` runs: a pattern for their names.
TESTS	?= *
# And of these in the guest, the cases that it runs; empty: all.
CASE	?=
PART	?= 1/1
# Not for the makefiles below, where the name may mean something else.
MAKEOVERRIDES := $(filter-out TESTS=% CASE=% PART=%,$(MAKEOVERRIDES))

top	:= $(CURDIR)
guest	:= $(or $(KERNEL),6.1)
# A module that is broken on purpose (see Kbuild) is kept apart.
out	:= build/$(or $(KERNEL),$(shell uname -r))$(addprefix -,$(BROKEN))

all: modules

help:
	@sed -nE 's/^#: ?//p' Makefile

#: KERNEL=6.1|6.12|7.2|debug|kasan|debug-6.12|debug-7.2 chooses the guest's kernel
#: (default 6.1).
#:
#: modules    build memory_view.ko for the running kernel into build/$(uname -r)/,
#:            or for the guest's kernel KERNEL into build/KERNEL/ (default target)
modules:
	@$(MAKE) -s link-sources DIR=$(out)
ifeq ($(KERNEL),)
	@headers=/lib/modules/$$(uname -r)/build; \
	if [ -e "$$headers/Makefile" ]; then \
		$(MAKE) -C "$$headers" M=$(top)/$(out) modules; \
	else \
		echo "no headers of the running kernel: install linux-headers-$$(uname -r)"; \
		exit 1; \
	fi
else
	@kernel=$$(tests/vm/kernel path $(KERNEL)) && \
		"$$kernel/make" --no-print-directory M=$(top)/$(out) modules
endif
	@echo "built $(out)/memory_view.ko"

# kbuild writes beside the sources; so that they stay clean, it gets a directory
# of links to them.
link-sources:
	mkdir -p $(DIR)/driver
	ln -sfn $(top)/Kbuild $(DIR)/Kbuild
	ln -sfn $(top)/uapi $(DIR)/uapi
	ln -sf $(top)/driver/*.[ch] $(DIR)/driver/

guest-module:
	@$(MAKE) --no-print-directory modules KERNEL=$(guest)

#: lib        build libmemview, static and shared, into build/lib/
lib:
	$(MAKE) -s -C libmemview BUILD=$(top)/build

#: demo       in a guest: an unmodified qemu-storage-daemon works on lent memory
#:            and loses it again (DEMO_ARGS='...' goes to the demo; see its --help)
demo: deps
	@$(MAKE) --no-print-directory guest-module lib
	$(MAKE) -s -C demo-vhost-user BUILD=$(top)/build
	tests/vm/run --kernel $(guest) -- build/demo/memview-vhost-demo $(DEMO_ARGS)

#: check      run all tests, on the host and in the guest; TESTS='test_r*' selects
#:            programs, CASE='revoke*' cases in the guest; logs are in build/check/
check: deps
	@$(MAKE) --no-print-directory guest-module tests
	@tests/run-suite --kernel $(guest) --tests '$(TESTS)' --case '$(CASE)' --part $(PART) \
		--host $(host_tests) $(boot_tests) --guest $(guest_tests)

#: check-guest  only what is in guests (PART=2/3: of the programs, the second third)
check-guest: deps
	@$(MAKE) --no-print-directory guest-module tests
	@tests/run-suite --kernel $(guest) --tests '$(TESTS)' --case '$(CASE)' --part $(PART) \
		--host $(boot_tests) --guest $(guest_tests)

#: list       the programs and cases that TESTS and CASE choose from
list: deps
	@$(MAKE) --no-print-directory guest-module tests >/dev/null
	@tests/vm/run --kernel $(guest) -- sh -c 'for program; do \
		"$$program" --list | sed "s|^|$${program##*/}: |"; done' list \
		$(filter build/tests/guest/%,$(guest_tests))

#: check-all  the model, check, then check-guest on every other kernel; one total
check-all: deps
	@scripts/check-kernels --model 6.1 debug kasan 6.12 7.2 debug-6.12 debug-7.2

host_tests := tests/selftest tests/vm/selftest tests/bench/selftest \
	tests/host/test_errnos $(patsubst %.c,build/%,$(wildcard tests/host/test_*.c))
guest_tests := $(patsubst %.c,build/%,$(wildcard tests/guest/test_*.c)) \
	$(if $(CASE),,build/tests/fuzz/test_fuzz)
# Started on the host, but they boot guests with $KERNEL.
boot_tests := tests/stress/check tests/special
export KERNEL

#: tests      build the test programs only
tests: lib
	$(MAKE) -s -C tests/host BUILD=$(top)/build
	$(MAKE) -s -C tests/guest BUILD=$(top)/build
	$(MAKE) -s -C tests/fuzz BUILD=$(top)/build
	$(MAKE) -s -C tests/stress BUILD=$(top)/build

#: stress     revocation under stress: the normal build must have no escape, builds
#:            that break a rule on purpose must be caught (STRESS_ARGS='--seconds 600')
stress: deps
	@$(MAKE) --no-print-directory guest-module lib
	tests/stress/prove --kernel $(guest) $(STRESS_ARGS)

#: fuzz       fuzz the driver's interface for FUZZ_SECONDS=600, guided by coverage, on
#:            the kasan kernel (FUZZ_ARGS='--seed 1')
FUZZ_SECONDS ?= 600
fuzz: deps
	@$(MAKE) --no-print-directory modules lib KERNEL=$(or $(KERNEL),kasan)
	$(MAKE) -s -C tests/fuzz BUILD=$(top)/build
	tests/vm/run --kernel $(or $(KERNEL),kasan) \
		--timeout $$(($(FUZZ_SECONDS) + 300)) -- \
		build/tests/fuzz/fuzz --seconds $(FUZZ_SECONDS) \
		--corpus tests/fuzz/corpus --findings build/guest-out \
		--out build/guest-out/corpus $(FUZZ_ARGS)

#: coverage   line and branch coverage of the driver over the whole suite, on kasan,
#:            debug-6.12 and debug-7.2 together, or on KERNEL='X Y': at least 95 % of
#:            lines; the rest is in build/coverage/uncovered.md
coverage: deps
	scripts/coverage $(addprefix --kernel ,$(KERNEL)) $(COVERAGE_ARGS)

#: model      verify the SPIN models of model/, and that their mutants fail
model: deps
	model/run

#: bench      the view against its rivals, by time and by instructions, into
#:            build/bench/ (BENCH_ARGS='--only unmap-page --mode icount')
bench: deps
	@$(MAKE) --no-print-directory guest-module lib
	tests/bench/run --kernel $(guest) $(BENCH_ARGS)

#: bench-window  instructions per page, by fault-around window (docs/performance.md)
bench-window: deps
	@$(MAKE) --no-print-directory guest-module
	@mkdir -p build/bench
	$(CC) -O2 -Wall -Wextra -Werror -Iuapi -o build/bench/fault_around \
		tests/bench/fault_around.c
	tests/vm/run --kernel $(guest) --icount --cpus 1 --timeout 900 -- \
		build/bench/fault_around

#: lint       compiler warnings (W=1), sparse, checkpatch and kernel-doc on the driver
lint: deps
	@scripts/lint $(guest)

#: shell      a shell in the guest, with the module loaded
shell: deps
	@$(MAKE) --no-print-directory guest-module
	tests/vm/run --kernel $(guest) --shell

#: deps       install the Debian packages that all this needs, if any is missing
deps:
	@scripts/deps

#: install    install the module for the running kernel, and the library below
#:            PREFIX (default /usr/local)
install: modules lib
	$(MAKE) -C /lib/modules/$$(uname -r)/build M=$(top)/$(out) modules_install
	depmod -a
	$(MAKE) -C libmemview BUILD=$(top)/build install

#: clean      remove build/ (the kernels stay in ~/.cache/memory-view)
clean:
	rm -rf build

.PHONY: all help list modules link-sources guest-module lib demo check check-guest \
	check-all tests stress fuzz coverage model bench bench-window lint shell deps install clean
