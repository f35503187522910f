# SPDX-License-Identifier: GPL-2.0
#
# Everything that is built goes to build/. `make help` lists the targets.

# A kernel known to tests/vm/kernel, for what is to run in the test guest;
# empty for the kernel of this machine.
KERNEL	?=
export CC ?= cc

top	:= $(CURDIR)
guest	:= $(or $(KERNEL),6.1)
# Where the module is built: kbuild writes beside its sources, so there they
# are symbolic links.
kbuild_dir := build/$(or $(KERNEL),$(shell uname -r))
run	:= tests/vm/run --kernel $(guest)

all: modules

help:
	@echo 'Targets (KERNEL=$(shell tests/vm/kernel list 2>/dev/null | grep -v "^	" | paste -sd"|" -) chooses the guest, default 6.1):'
	@sed -nE 's/^#: ([^ ]+) (.*)/  \1	\2/p; s/^#:  +/		/p' Makefile | expand -t 2,18

#: modules         build memory_view.ko for the running kernel, or for KERNEL
modules:
ifeq ($(KERNEL),)
	@test -e /lib/modules/$$(uname -r)/build/Makefile || { \
		echo "no kernel headers for $$(uname -r): install linux-headers-$$(uname -r)"; \
		exit 1; }
	@$(call link_sources,$(kbuild_dir))
	$(MAKE) -C /lib/modules/$$(uname -r)/build M=$(top)/$(kbuild_dir) modules
else
	@$(call link_sources,$(kbuild_dir))
	@kernel=$$(tests/vm/kernel path $(KERNEL)) && \
		"$$kernel/make" --no-print-directory M=$(top)/$(kbuild_dir) modules
endif
	@echo "built $(kbuild_dir)/memory_view.ko"

define link_sources
mkdir -p $(1)/driver && \
ln -sfn $(top)/Kbuild $(1)/Kbuild && ln -sfn $(top)/uapi $(1)/uapi && \
ln -sf $(top)/driver/*.[ch] $(1)/driver/
endef

guest_module:
	@$(MAKE) --no-print-directory modules KERNEL=$(guest)

#: lib             build libmemview, static and shared, into build/lib/
lib:
	$(MAKE) -C libmemview BUILD=$(top)/build

#: demo            show, in a guest, a backend that loses access to lent memory
#:                 (DEMO_ARGS='...' are passed on: --help)
demo: deps guest_module lib
	$(MAKE) -C demo-vhost-user BUILD=$(top)/build
	$(run) --timeout 300 -- build/demo/demo $(DEMO_ARGS)

#: shell           a shell in the guest, with the module loaded
shell: deps guest_module
	$(run) --shell

#: deps            install the Debian packages that the targets here need
deps:
	@tests/deps

#: clean           remove build/ (the kernels stay in the cache)
clean:
	rm -rf build

.PHONY: all help modules guest_module lib demo shell deps clean
