# SPDX-License-Identifier: MIT
# The boot shim of a TD: build/shim/shim.bin, 64 KiB that launch/shim_image.S takes into the image.
# Included by the root Makefile.

SHIM_SRC    := $(wildcard guest/shim/*.[cS]) lib/sha384.c lib/freestanding/printf.c \
               lib/freestanding/string.c
SHIM_OBJS   := $(SHIM_SRC:%=$(B)/shim/%.o)
# Its addresses have bit 31 set, which -mcmodel=small allows only relative to RIP.
SHIM_CFLAGS := $(filter-out -fno-pic,$(GUEST_CFLAGS)) -fpie -fvisibility=hidden -Dbug=shim_bug

$(B)/shim/%.c.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) -MMD -MP -c $< -o $@

$(B)/shim/%.S.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC) -m64 -I. -MMD -MP -c $< -o $@

$(B)/shim/shim.ld: guest/shim/shim.ld guest/shim/layout.h
	@mkdir -p $(@D)
	$(Q)$(CC) -E -P -undef -x c -I. $< -o $@

$(B)/shim/shim.elf: $(SHIM_OBJS) $(B)/shim/shim.ld
	$(Q)ld -m elf_x86_64 -nostdlib -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
	    --build-id=none -T $(B)/shim/shim.ld $(SHIM_OBJS) -o $@

$(B)/shim/shim.bin: $(B)/shim/shim.elf
	$(Q)objcopy -O binary $< $@

$(B)/obj/launch/shim_image.o $(B)/host/launch/shim_image.o: $(B)/shim/shim.bin

# Writes the initial image of a TD from its files.
.PHONY: tdimage
tdimage: $(B)/tdimage ## what tools/tdreport.py needs to compute MRTD and RTMRs from the files
$(B)/tdimage: $(B)/host/tools/tdimage.o $(B)/libhost.a
	$(Q)$(HOSTCC) $(HOSTFLAGS) $^ -lcmocka -lpthread -o $@
