# Running and testing the image. Included by the Makefile; IMAGES and GUEST_ELFS are its own.

PYTHON := /usr/bin/python3
IMAGES ?= $(wildcard $(B)/eptvisor.elf $(B)/eptvisor32.elf)
GUEST_ELFS ?= $(wildcard $(B)/guest/*.elf)

# ---- The option ROM and the boot-protocol checker -------------------------------------------------
$(B)/optrom.bin: tools/optrom.S
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 -c $< -o $(B)/optrom.o
	$(Q)ld -m elf_i386 -Ttext 0x8000 -e 0 --oformat binary $(B)/optrom.o -o $@

BOOTINFO := tests/target/bootinfo
$(B)/bootinfo.elf: $(BOOTINFO)/bootinfo.S $(BOOTINFO)/bootinfo.c $(BOOTINFO)/bootinfo.ld
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 -std=gnu11 -O2 -g $(WARN) -ffreestanding -nostdlib -fno-pic -no-pie \
	    -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
	    -mgeneral-regs-only -Wl,--build-id=none,--no-warn-rwx-segments -Wl,-z,max-page-size=4096 \
	    -Wl,-T,$(BOOTINFO)/bootinfo.ld $(filter %.S %.c,$^) -o $@
