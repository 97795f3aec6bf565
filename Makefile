# SPDX-License-Identifier: MIT
# eptvisor: `make run` boots it and shows what it does, `make test` tests it, and `make help` lists
# all targets that have a description after `##`.
#
# Everything is built below build/; nothing outside of it is written.

B := build
Q := $(if $(V),,@)
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

# ---- Sources ----------------------------------------------------------------------------------
# A pure file compiles freestanding and hosted. The other files include a header with privileged
# instructions, contain such instructions, or replace the C library (lib/freestanding/).
LAYERS := $(shell cat tools/layers.txt)
SRC_C  := $(foreach d,$(LAYERS) lib/freestanding,$(wildcard $(d)/*.c))
SRC_S  := $(foreach d,$(LAYERS),$(wildcard $(d)/*.S))
PRIVILEGED := arch/x86/cpu.h|arch/x86/this_cpu.h|vmx/vmcs.h
PURE   := $(filter-out lib/freestanding/% $(shell grep -lE \
            '"($(PRIVILEGED))"|volatile."(invept|invvpid|sfence)' $(SRC_C)),$(SRC_C))
HEADERS := $(foreach d,$(LAYERS),$(wildcard $(d)/*.h))

# Linux' headers for user space (<linux/virtio_ring.h>), and none of the C library's beside them.
UAPI := $(B)/uapi
$(shell mkdir -p $(UAPI) && cd $(UAPI) && ln -sfn /usr/include/linux linux && \
    ln -sfn /usr/include/asm-generic asm-generic && \
    ln -sfn /usr/include/$$(gcc -print-multiarch)/asm asm)

# ---- Flags --------------------------------------------------------------------------------------
CC      := gcc
HOSTCC  := gcc
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wcast-qual -Wstrict-prototypes \
           -Wmissing-prototypes -Wundef -Wvla -Wframe-larger-than=2048 -Werror
CFLAGS  := -std=gnu11 -O2 -g $(WARN) -I. -ffreestanding -nostdinc \
           -isystem $(shell $(CC) -print-file-name=include) -mgeneral-regs-only -mno-red-zone \
           -mpreferred-stack-boundary=3 -mcmodel=kernel -fno-pic -fno-stack-protector \
           -fno-omit-frame-pointer \
           -fno-asynchronous-unwind-tables -fcf-protection=none -fno-strict-aliasing \
           -idirafter $(UAPI)
HOSTFLAGS := -std=gnu11 -O1 -g1 $(WARN) -Wno-frame-larger-than -I. -fno-strict-aliasing \
           -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# ---- The image --------------------------------------------------------------------------------
OBJS := $(SRC_C:%.c=$(B)/obj/%.o) $(SRC_S:%.S=$(B)/obj/%.o) $(B)/obj/font.o \
        $(B)/obj/quote_key.o
LDFLAGS := -nostdlib -static -no-pie -z max-page-size=4096 -z noexecstack --build-id=none \
           -T linker.ld

.PHONY: all
all: $(B)/eptvisor.elf $(B)/eptvisor32.elf guests ## build the image and the guests

# A frame pointer would cost each exit three instructions; backtraces skip the functions of this
# file.
$(B)/obj/vm/dispatch.o: CFLAGS += -fomit-frame-pointer

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/obj/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -g -MMD -MP -c $< -o $@

# The screen's font comes from the GRUB that is installed on the build machine.
GRUB_FONT := /usr/share/grub/unicode.pf2
vpath font.c $(B)
$(B)/font.c: tools/font.py | deps-base
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tools/font.py $(GRUB_FONT) > $@

# The test key of a TD's quotes.
vpath quote_key.c $(B)
$(B)/quote_key.c: tools/tdquote.py | deps-base
	@mkdir -p $(@D)
	$(Q)$(PYTHON) tools/tdquote.py --key > $@

# The image is linked twice: the second time with the table of the first one's symbols, after all
# code, so that addresses do not change.
$(B)/eptvisor.elf: $(OBJS) linker.ld tools/symbols.awk
	$(Q)ld $(LDFLAGS) $(OBJS) -o $(B)/nosymbols.elf
	$(Q)nm -n $(B)/nosymbols.elf | awk -f tools/symbols.awk > $(B)/symbols.S
	$(Q)$(CC) -c $(B)/symbols.S -o $(B)/symbols.o
	$(Q)ld $(LDFLAGS) $(OBJS) $(B)/symbols.o -o $@

# `qemu -kernel` loads a multiboot image only if it is an ELF32 file.
$(B)/eptvisor32.elf: $(B)/eptvisor.elf
	$(Q)objcopy -O elf32-i386 $< $@

# ---- Unit tests -------------------------------------------------------------------------------
UNIT_SRC   := $(wildcard tests/unit/*.c tests/unit/*/*.c)
UNIT_MAIN  := $(foreach f,$(UNIT_SRC),$(if $(filter test_%,$(notdir $(f))),$(f)))
UNIT_TESTS := $(addprefix $(B)/unit/,$(basename $(notdir $(UNIT_MAIN))))
# Code that the tests share is also in the library, so that each program links only what it needs.
# It comes first, because it replaces the files that use the machine.
UNIT_SHARED := $(filter-out $(UNIT_MAIN),$(UNIT_SRC))
HOST_OBJS  := $(UNIT_SHARED:%.c=$(B)/host/%.o) $(PURE:%.c=$(B)/host/%.o) $(B)/host/vmx/entry.o \
              $(B)/host/launch/shim_image.o $(B)/host/guest/shim/shim.o \
              $(B)/host/font.o $(B)/host/quote_key.o

$(B)/host/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOSTFLAGS) -MMD -MP -c $< -o $@

$(B)/host/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOSTFLAGS) -MMD -MP -c $< -o $@

$(foreach f,$(UNIT_MAIN),$(eval $(B)/unit/$(basename $(notdir $(f))): $(f:%.c=$(B)/host/%.o)))
# Most of the time goes to compiling and linking the tests, not to running them. Where gold exists,
# it links each of them in a third of the time.
UNIT_LD := $(if $(shell command -v ld.gold),-fuse-ld=gold)
$(UNIT_MAIN:%.c=$(B)/host/%.o): HOSTFLAGS += -O0
$(UNIT_TESTS): $(B)/libhost.a
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOSTFLAGS) $(UNIT_LD) $(filter %.o,$^) $(filter %.a,$^) $(UNIT_LIBS) -lcmocka \
	    -lpthread -o $@

$(B)/unit/test_mmio_zydis: UNIT_LIBS := -lZydis
$(B)/unit/test_mmio_calls: UNIT_LIBS := $(foreach f,guest_cmpxchg guest_page guest_read mmu_fault \
                                        mmu_mmio_check,-Wl,--wrap=$(f))

$(B)/libhost.a: $(HOST_OBJS)
	$(Q)rm -f $@ && ar rcs $@ $^

# Each test is a target, so that `make -j` runs them beside each other. All run, whatever fails.
.PHONY: unit $(UNIT_TESTS:%=%.run)
unit: $(UNIT_TESTS:%=%.run) ## the hosted unit tests, under ASan and UBSan
$(UNIT_TESTS:%=%.run): %.run: %
	@$<
ifneq ($(filter unit,$(MAKECMDGOALS)),)
MAKEFLAGS += --keep-going
endif

PARTS := guest/programs/programs.mk guest/shim/shim.mk \
         $(patsubst %,tools/%.mk,run image lint mmu fuzz)

.PHONY: help
help: | deps-base ## this list
	$(Q)$(PYTHON) tools/targets.py help Makefile $(PARTS)

include $(PARTS)
# The dependencies that the compiler found; a Debian that is being installed has such files, too.
-include $(shell find $(B) -path $(B)/debian -prune -o -name '*.d' -type f -print 2>/dev/null)
