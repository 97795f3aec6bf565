# SPDX-License-Identifier: MIT
# Running and testing the image. Included by the Makefile, after the guest programs.

# A tool or test may start a `make` of its own, which must not look for this one's job server, nor
# have its options or print directories.
PYTHON := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL /usr/bin/python3
# The release of Debian whose packages are used: this computer's.
RELEASE ?= $(shell . /etc/os-release && echo $$VERSION_CODENAME)

# ---- make run ---------------------------------------------------------------------------------
# The guests: `[name=]path[:word,word...[:args]] ...`. A program NAME gets the words
# GUEST_WORDS_NAME.
guest_item = $(B)/guest/$(1).elf:$(or $(GUEST_WORDS_$(1)),testctl)
# Variants of some programs, which only the tests run.
GUEST_VARIANTS := \
    state_again=$(B)/guest/state.elf:testctl \
    pdpte_exits=$(B)/guest/pdpte.elf:testctl,gva_cache=exits \
    invpcid_exits=$(B)/guest/invpcid.elf:testctl,gva_cache=exits \
    lapic_plain=$(B)/guest/lapic.elf:mem=32M \
    lapic_x2apic=$(B)/guest/lapic.elf:testctl:x2apic \
    $(B)/guest/disk.elf:testctl,pc +$(B)/guest/mmio.elf:disk \
    disk_cpus=$(B)/guest/disk.elf:pc,vcpus=2 again=+$(B)/guest/mmio.elf:disk \
    poweroff_reset=$(B)/guest/poweroff.elf:pc:reset \
    poweroff_keyboard=$(B)/guest/poweroff.elf:pc,vcpus=2:keyboard \
    forbidden_sse=$(call guest_item,forbidden_instruction):sse \
    iret_ve=$(B)/guest/iret.elf:testctl,shared=39,ve:ve \
    refused_exits=$(B)/guest/refused.elf:testctl,gva_cache=exits \
    forbidden_task=$(B)/guest/tasks.elf:testctl,expect=unsupported-instruction:mmio \
    forbidden_loop_ac=$(call guest_item,forbidden_loop):ac \
    forbidden_stack=$(call guest_item,forbidden_mmio_delivery):stack \
    forbidden_tables=$(call guest_item,forbidden_fetch):tables \
    forbidden_shared_fetch=$(call guest_item,forbidden_sides):fetch \
    forbidden_private_device=$(call guest_item,forbidden_sides):device \
    forbidden_code_read=$(call guest_item,forbidden_sides):code \
    forbidden_half=$(call guest_item,forbidden_sides):half \
    forbidden_old_side=$(call guest_item,forbidden_sides):old \
    forbidden_ve_stack=$(call guest_item,forbidden_ve):stack \
    forbidden_ve_real=$(B)/guest/forbidden_ve.elf:testctl,ve,expect=memory-fault:real
# Guests that only the tests run: those that do not start with every command line and, nested, those
# that run with IF=0 and without exits, which nothing can interrupt (docs/EMULATOR-GAPS.md).
LEFT_OUT := forbidden_ve $(if $(filter nested,$(MACHINE)),forbidden_spin forbidden_rearm)
GUESTS ?= $(call guest_item,scenarios) \
          gva_off=$(B)/guest/scenarios.elf:testctl,gva_cache=off:gva \
          gva_exits=$(B)/guest/scenarios.elf:testctl,gva_cache=exits,budget=60000:gva \
          $(foreach g,$(filter-out $(LEFT_OUT),$(filter forbidden_%,$(GUEST_PROGRAMS))) bench, \
              $(call guest_item,$(g)))
export BOCHS MACHINE METHOD MEDIUM CPU CMDLINE SMP MEM GUESTS GUEST_ARGS TIMEOUT NAME \
    PORT BAUD POWER ENTRY

# MACHINE=nested needs, in addition to QEMU, a Linux with KVM, the same one as `make bench`.
NESTED   := $(if $(filter nested,$(MACHINE)),$(addprefix $(B)/kvm/,nested kernel))
HAS_VTX  := $(and $(wildcard /dev/kvm),$(shell grep -qw vmx /proc/cpuinfo && echo yes))
RUN_DEPS := base $(if $(filter-out serial,$(or $(MACHINE),auto)),bochs grub) \
            $(if $(findstring efi,$(METHOD)),efi) \
            $(if $(HAS_VTX)$(findstring qemu,$(MACHINE))$(NESTED),qemu)

.PHONY: run run-quick doctor deps deps-base deps-run deps-unit deps-check deps-target
# A machine on a serial port has what somebody has written onto its stick.
run: $(if $(filter serial,$(MACHINE)),,all guests $(B)/optrom.bin $(NESTED))
run: | deps-run ## boot with GRUB, run the guests, print the results
	$(Q)$(PYTHON) tools/run.py

# LOG= is the console of a machine that somebody else has started with the word `report`.
.PHONY: report
report: export NAME := $(or $(NAME),report)
report: export TITLE := $(TITLE)
report: export LOG := $(LOG)
report: $(if $(LOG),,all guests $(B)/optrom.bin $(NESTED)) | $(if $(LOG),deps-base,deps-run)
report: ## describe a machine in build/report/NAME.txt: MACHINE=, or LOG= of any console
	$(Q)$(PYTHON) tools/report.py

# Debian's cloud kernel is the one that `make bench` runs KVM in. Busybox is not installed.
INITRD_FILES := $(addprefix $(B)/linux/,busybox tsc mark)
LINUX_FILES  := $(if $(KERNEL),,$(B)/kvm/kernel) $(if $(INITRD),,$(INITRD_FILES)) $(B)/optrom.bin
.PHONY: linux linux-files linux-matrix
linux linux-files: all $(LINUX_FILES) $(NESTED)
linux: | deps-run ## Debian's Linux in a VM, with its shell in this terminal
	$(Q)$(PYTHON) tools/linux.py

# A whole Debian, by default of this computer's release.
.PHONY: debian
debian: export RELEASE := $(RELEASE)
debian: all $(B)/optrom.bin $(B)/debian/$(RELEASE)/root.img | deps-run
debian: ## a whole Debian with systemd in a VM, with its login in this terminal; RELEASE=, VCPUS=
	$(Q)$(PYTHON) tools/linux.py debian

$(B)/debian/%/root.img:
	$(Q)tools/debian/image.sh $(@D) $*

# The kernel of Debian 13 in a TD, on any Debian: that of Debian 12 cannot be a TDX guest.
TDX_KERNEL := $(B)/linux/kernels/trixie-cloud
TDX_FILES  := $(if $(KERNEL),,$(TDX_KERNEL)) \
              $(if $(INITRD),,$(INITRD_FILES) $(B)/linux/tdreport) $(B)/optrom.bin
.PHONY: tdx tdx-files
tdx tdx-files: all $(TDX_FILES) $(NESTED)
tdx: | deps-run ## Debian's Linux as a TDX guest, with its shell in this terminal
	$(Q)$(PYTHON) tools/linux.py tdx

# The cloud kernel of any release, such as build/linux/kernels/sid-cloud.
$(B)/linux/kernels/%-cloud:
	@tools/deps.sh kvm kernels
	$(Q)tools/linux/fetch.sh $@ $* linux-image-cloud-amd64

# Kernels of several releases and of both flavours, which are downloaded into build/linux/kernels/.
linux-matrix: all $(INITRD_FILES) $(B)/optrom.bin $(NESTED) | deps-run
linux-matrix: ## Debian's kernels, each by each entry, on 1, 2 and 4 vCPUs; slow. KERNELS=, VCPUS=
	@tools/deps.sh kernels
	$(Q)$(PYTHON) tools/matrix.py

$(B)/linux/vmlinux: tools/vmlinux.py $(B)/kvm/kernel
	@tools/deps.sh kernels
	@mkdir -p $(@D)
	$(Q)tools/vmlinux.py $(B)/kvm/kernel/vmlinuz $@

# The symbols of a stripped kernel, for debuggers.
%/vmlinux.symbols: %/vmlinux tools/kallsyms.py
	$(Q)tools/kallsyms.py $< $@ >$@.log

$(B)/linux/tsc $(B)/linux/mark: $(B)/linux/%: tools/linux/%.S
	@mkdir -p $(@D)
	$(Q)$(CC) -nostdlib -static -s -Wl,--build-id=none $< -o $@

$(B)/linux/tdreport: tools/linux/tdreport.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) -ffreestanding -fno-stack-protector -fcf-protection=none \
	    -fno-asynchronous-unwind-tables -nostdlib -static -s -Wl,--build-id=none $< -o $@

$(B)/linux/busybox:
	$(Q)rm -rf $(B)/linux/tree && mkdir -p $(B)/linux/tree
	$(Q)cd $(B)/linux/tree && apt-get download -qq busybox-static 2>apt.log || \
	    { cat $(B)/linux/tree/apt.log >&2; false; }
	$(Q)dpkg-deb -x $(B)/linux/tree/busybox-static_*.deb $(B)/linux/tree
	$(Q)cp $$(find $(B)/linux/tree -name busybox -type f -perm /1 | head -1) $@
	$(Q)rm -rf $(B)/linux/tree

# Programs that test a machine, in a VM with Linux on four vCPUs: stress-ng of this Debian with its
# libraries, and the kernel's own tests, built from Debian's source of this kernel.
.PHONY: linux-stress linux-selftests
linux-stress linux-selftests: all $(B)/kvm/kernel $(INITRD_FILES) $(B)/optrom.bin
linux-stress: $(B)/linux/stress-ng/command
linux-selftests: $(B)/linux/selftests
linux-stress: | deps-run ## stress-ng --verify in Linux; SECONDS_EACH=, VCPUS=; ten minutes or more
	$(Q)$(PYTHON) tools/linux_programs.py linux stress $(B)/linux/stress-ng
linux-selftests: | deps-run ## the kernel's tests of its x86 entry code in Linux; some minutes
	$(Q)$(PYTHON) tools/linux_programs.py linux selftests $(B)/linux/selftests

# stress-ng and the selftests in a TDX guest, with the kernel's test of its driver.
.PHONY: tdx-stress tdx-selftests
tdx-stress tdx-selftests: all $(TDX_FILES)
tdx-stress: $(B)/linux/stress-ng/command
tdx-selftests: $(B)/linux/selftests-tdx
tdx-stress: | deps-run ## stress-ng --verify in a TDX guest; options as for linux-stress
	$(Q)$(PYTHON) tools/linux_programs.py tdx stress $(B)/linux/stress-ng
tdx-selftests: | deps-run ## the kernel's selftests of x86 and of tdx-guest in a TDX guest
	$(Q)$(PYTHON) tools/linux_programs.py tdx selftests $(B)/linux/selftests-tdx

# Kernels that nobody here wrote, which the user has built or unpacked: docs/FOREIGN.md; and
# kvm-unit-tests, which are built from a checkout below build/foreign/kut/.
.PHONY: foreign
foreign: all $(B)/optrom.bin
foreign: | deps-run ## others' kernels: XV6=DIR MACH=FILE XEN=FILE LK=DIR TBOOT=FILE KUT=DIR
	$(Q)$(if $(KUT),$(PYTHON) tools/foreign_kut.py "$(KUT)")
	$(Q)$(if $(XV6)$(MACH)$(XEN)$(LK)$(TBOOT)$(if $(KUT),,.),$(PYTHON) tools/foreign.py)

# Intel's compliance tests of a TDX guest, from a checkout of LKVS with a module built against the
# headers of KERNEL.
.PHONY: tdx-compliance
tdx-compliance: all $(TDX_FILES)
tdx-compliance: | deps-run ## Intel's compliance tests of a TDX guest: LKVS=DIR, KERNEL=bzImage
	$(Q)$(PYTHON) tools/compliance.py "$(LKVS)"

$(B)/linux/stress-ng/command:
	$(Q)tools/unpack.sh $(RELEASE) $(@D) stress-ng stress-ng zlib1g >$(@D).command
	$(Q)mv $(@D).command $@

$(B)/linux/selftests:
	$(Q)tools/linux/selftests.sh $@
$(B)/linux/selftests-tdx:
	@tools/deps.sh kvm
	$(Q)tools/linux/selftests.sh $@ trixie

run-quick: export METHOD := optrom
run-quick: export MACHINE := bochs
run-quick: run ## boot with the option ROM in a fraction of a second, as the tests do

own_guests = $(filter-out file,$(origin GUESTS))

# What a picture is made of is in Bochs' output. A machine that was not started (123), or has
# refused its command line (15), leaves none, and has said why.
only_bochs = $(if $(filter-out bochs,$(MACHINE)),$(error make $@ needs the output of Bochs: \
    leave MACHINE=$(MACHINE) out))
unless_refused = status=$$?; case $$status in 15 | 123) exit $$status ;; esac

# The first guest tells a story in moments; the second has private, shared and execute-only memory.
.PHONY: map map-pictures test-ui
MAPPED := $(call guest_item,map) roots=$(B)/guest/map.elf:testctl,shared=39,execute_only=38
MAP    := $(or $(NAME),map)
map map-pictures: all guests $(B)/optrom.bin | deps-run
	$(Q)$(only_bochs)mkdir -p $(B)/map
	$(Q)METHOD=$(or $(METHOD),optrom) MACHINE=bochs NAME=$(MAP) CMDLINE="export=e9 map=1 $(CMDLINE)" \
	    GUESTS="$(if $(own_guests),$(GUESTS),$(MAPPED))" \
	    $(PYTHON) tools/run.py; $(unless_refused); \
	$(PYTHON) tools/map.py $(MAP_ARGUMENTS) && exit $$status
map: MAP_ARGUMENTS = $(B)/run/$(MAP)/emulator.txt $(B)/map/$(MAP).html
map: ## draw the memory of GUESTS= at its moments as a page, build/map/NAME.html
map-pictures: MAP_ARGUMENTS = --pictures $(B)/run/$(MAP)/emulator.txt docs
map-pictures: ## draw the two maps of the README anew

test-ui: $(B)/unit/test_map_dump | deps-base ## the pages of `make map` and `make trace` in Chromium
	@tools/deps.sh unit pytest ui
	$(Q)mkdir -p $(B)/map
	$(Q)MAP_DUMP=$(B)/map/story.bin $< 2>$(B)/map/story.log >&2
	$(Q)$(PYTHON) -m pytest -q tests/ui

# The events of a run, for Perfetto and as a page. EVENTS= are those of the word `trace=`. The maps
# of memory give devices and slots their names.
TRACED := $(B)/guest/trace.elf:testctl,vcpus=2 \
          $(B)/guest/smp_slots.elf:testctl,vcpus=2,budget=60000:10 $(call guest_item,flush)
TRACE  := $(or $(NAME),trace)
TRACED_OUTPUT := $(B)/run/$(TRACE)/emulator.txt
.PHONY: trace trace-picture
trace: all $(B)/optrom.bin | deps-run
trace: ## record the events of GUESTS= (EVENTS=, SMP=2) as build/trace/NAME.json and NAME.html
	$(Q)$(only_bochs)METHOD=$(or $(METHOD),optrom) MACHINE=bochs SMP=$(or $(SMP),2) \
	    NAME=$(TRACE) \
	    CMDLINE="export=e9 map=1 trace=$(or $(EVENTS),all) $(CMDLINE) \
	        $(if $(own_guests),,parallel=1)" \
	    GUESTS="$(if $(own_guests),$(GUESTS),$(TRACED))" \
	    $(PYTHON) tools/run.py; $(unless_refused); \
	$(PYTHON) tools/perfetto.py $(TRACED_OUTPUT) $(B)/trace/$(TRACE).json && \
	$(PYTHON) tools/trace_page.py $(TRACED_OUTPUT) $(B)/trace/$(TRACE).html && exit $$status
trace-picture: trace ## draw the picture of docs/TRACE.md anew
	$(Q)$(PYTHON) tools/trace_page.py --picture smp_slots $(TRACED_OUTPUT) docs/trace-cost.svg

.PHONY: gdb
gdb: export SYMBOLS := $(SYMBOLS)
gdb: all $(B)/optrom.bin $(NESTED) $(if $(filter linux,$(GUEST)),$(LINUX_FILES) \
         $(if $(SYMBOLS)$(KERNEL),,$(B)/linux/vmlinux.symbols),$(B)/guest/$(or $(GUEST),hello).elf)
gdb: ## GUEST=hello, or linux: debug it with GDB
	@tools/deps.sh base bochs gdb
	$(Q)GUEST=$(GUEST) WORDS=$(WORDS) $(PYTHON) tools/gdb.py

doctor: | deps-base ## list which machines can be used here, and what to install
	$(Q)$(PYTHON) tools/doctor.py

deps: ## install what any target needs
	@tools/deps.sh all

deps-run:
	@tools/deps.sh $(RUN_DEPS)

deps-base deps-unit:
	@tools/deps.sh $(@:deps-%=%)

deps-check:
	@tools/deps.sh base unit lint bochs grub

deps-target:
	@tools/deps.sh base bochs grub efi qemu pytest

$(HOST_OBJS) $(UNIT_MAIN:%.c=$(B)/host/%.o): | deps-unit

# ---- make test, make check --------------------------------------------------------------------
.PHONY: target tested run-guests smp-guests test check
TESTED := $(filter-out %_bench td_% scale smp% hostile% neighbour disk net echo resets virtio_pci,\
            $(GUEST_PROGRAMS))
TESTED_GUESTS := $(foreach g,$(TESTED),$(call guest_item,$(g))) $(GUEST_VARIANTS)
target tested: export GUESTS := $(TESTED_GUESTS)
target: all guests $(B)/optrom.bin $(B)/bootinfo.elf | deps-target ## the tests that boot the image
	$(Q)$(PYTHON) -m pytest -q -n 2 --max-worker-restart 0 --dist loadfile tests/target

# Draws a QR code, for test_qr.py.
$(B)/tools/qr: tools/qr.c $(B)/libhost.a
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOSTFLAGS) $^ -lcmocka -lpthread -o $@

SMP_GUESTS := $(foreach g,$(filter-out %_bench,$(filter smp%,$(GUEST_PROGRAMS))), \
                  $(call guest_item,$(g)))
smp-guests: export GUESTS := $(SMP_GUESTS)
tested run-guests smp-guests: # lists for the tests
	@echo "$$GUESTS"

test: export FUZZ_SECONDS := 10
test: | deps-base ## everything that CI runs, on every CPU model, firmware and switch
ifeq ($(MACHINE),serial) # docs/MACHINES.md
	$(Q)$(PYTHON) tools/box.py test
else
	$(Q)$(PYTHON) tools/check.py unit lint tsan model prove fuzz mutants-sample target
endif

# `make test` plays the random tests in full. The boot comes first here: it uses one CPU, and
# meanwhile another one has the unit tests.
check: export SHORTER := 5
check: | deps-check ## unit tests, linters and one boot
	$(Q)$(PYTHON) tools/check.py "run-quick unit lint-quick"

# smp_slots has 3 tests of 33,334 rounds, smp_flush 8 of 12,500.
STORM := testctl,vcpus=2,budget=3600000
STORM_GUESTS := $(B)/guest/smp_slots.elf:$(STORM):33334 $(B)/guest/smp_flush.elf:$(STORM):12500
storm: export SMP := 2
storm: export CMDLINE := parallel=1
storm: export METHOD := optrom
storm: export TIMEOUT := 3000
storm: export GUESTS := $(STORM_GUESTS)
storm: run ## changes of memory under accesses of another CPU, 10^5 in each of two programs

# Not exported: `make run` also uses some of these variables, with other defaults.
HOSTILE_WORDS := N SEED VM BOOT JOBS STEPS TRACE SHRINK PER_BOOT SMP CPU MACHINE CMDLINE
given = $(if $(filter file default undefined,$(origin $(1))),,$(1)='$($(1))')
hostile: all guests $(B)/optrom.bin $(NESTED) | deps-target
hostile: ## N=10000 hostile VMs next to innocent ones; SEED=, VM=, BOOT=
	$(Q)$(foreach w,$(HOSTILE_WORDS),$(call given,$(w))) $(PYTHON) tools/hostile.py

.PHONY: spin storm hostile
spin: ## check models of kicks, sleep, epochs, private pages; some minutes
	@tools/deps.sh spin
	$(Q)tools/spin.sh $(B)/spin

# ---- The option ROM and the boot-protocol checker ---------------------------------------------
$(B)/optrom.bin: tools/optrom.S
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 -c $< -o $(B)/optrom.o
	$(Q)ld -m elf_i386 -Ttext 0x8000 -e 0 --oformat binary $(B)/optrom.o -o $@

BOOTINFO := tests/target/bootinfo
$(B)/bootinfo.elf: $(BOOTINFO)/bootinfo.S $(BOOTINFO)/bootinfo.c $(BOOTINFO)/bootinfo.ld
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 -std=gnu11 -O2 -g $(WARN) -ffreestanding -nostdlib -fno-pic -no-pie \
	    -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
	    -mgeneral-regs-only -Wl,--build-id=none,--no-warn-rwx-segments \
	    -Wl,-z,max-page-size=4096 -Wl,-T,$(BOOTINFO)/bootinfo.ld $(filter %.S %.c,$^) -o $@
