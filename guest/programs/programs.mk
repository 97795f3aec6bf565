# SPDX-License-Identifier: MIT
# The guest programs: build/guest/NAME.elf from guest/programs/NAME.c, the files named in
# GUEST_EXTRA_NAME, and the runtime. Included by the root Makefile.

GUEST_DIR      := guest/programs
GUEST_PROGRAMS := $(patsubst $(GUEST_DIR)/%.c,%,$(wildcard $(GUEST_DIR)/*.c))
GUEST_ELFS     := $(GUEST_PROGRAMS:%=$(B)/guest/%.elf)
GUEST_CFLAGS   := -std=gnu11 -O2 -g $(WARN) -I. -m64 -mcmodel=small -ffreestanding -nostdinc \
                  -isystem $(shell $(CC) -print-file-name=include) -mgeneral-regs-only \
                  -mno-red-zone -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables \
                  -fcf-protection=none -fno-strict-aliasing -fomit-frame-pointer
GUEST_RT       := $(patsubst %,$(B)/guest/obj/%.o,$(wildcard $(GUEST_DIR)/rt/*.[cS]) \
                  guest/shim/tdcall.S)

# Parts of a program that do not stand in NAME.c, relative to guest/programs/.
GUEST_EXTRA_mmio    := mmio/forms.c mmio/forms64.S mmio/forms32.S mmio/forms16.S mmio/legacy.S
GUEST_EXTRA_events  := events/entries.S
GUEST_EXTRA_forbidden_loop := loop/ac.S
GUEST_EXTRA_iret    := iret/entries.S
GUEST_EXTRA_real    := real/faults.S mmio/legacy.S
GUEST_EXTRA_refused := refused/legacy.S mmio/legacy.S
GUEST_EXTRA_td_bench    := bench/measure.c
GUEST_EXTRA_td_leaves   := td_leaves/code.S td_leaves/ve.c
GUEST_EXTRA_td_start := td_start/wake.S
GUEST_EXTRA_td_races := td_races/other.S
GUEST_EXTRA_tasks   := tasks/tasks.S mmio/legacy.S
GUEST_EXTRA_windows := windows/places.S
GUEST_EXTRA_instructions := $(patsubst %,instructions/list%.S,64 32 16)
GUEST_EXTRA_sides   := sides/region.c
GUEST_EXTRA_map     := sides/region.c
GUEST_EXTRA_ve      := sides/region.c
GUEST_EXTRA_pdpte   := $(GUEST_EXTRA_mmio)
GUEST_EXTRA_init    := init/probe.S
GUEST_EXTRA_differ  := differ/make.c differ/run.S
GUEST_EXTRA_hostile := hostile/run.S hostile/legacy.S hostile/tables.c hostile/bytes.c \
                       hostile/registers.c hostile/atoms.c
GUEST_EXTRA_hostile_devices := hostile/disk.c
GUEST_EXTRA_disk        := disk/driver.c
GUEST_EXTRA_net         := net/driver.c
GUEST_EXTRA_pci         := pci/config.c pci/harm.c
GUEST_EXTRA_resets      := disk/driver.c
GUEST_EXTRA_virtio_pci  := disk/driver.c pci/config.c
GUEST_EXTRA_bench       := bench/measure.c
GUEST_EXTRA_mmu_bench   := bench/measure.c
GUEST_EXTRA_sides_bench := bench/measure.c
GUEST_EXTRA_cpu_bench   := bench/measure.c
GUEST_EXTRA_mmio_bench  := bench/measure.c
GUEST_EXTRA_io_bench    := bench/measure.c disk/driver.c net/driver.c

# The words of a VM that needs others than `testctl`; see docs/ABI.md.
GUEST_WORDS_remap                       := testctl,budget=60000
GUEST_WORDS_instructions                := testctl,budget=60000
GUEST_WORDS_slots                       := testctl,budget=60000
GUEST_WORDS_differ                      := testctl,budget=120000
GUEST_WORDS_mmio_bench                  := testctl,budget=120000
GUEST_WORDS_mmu_bench                   := testctl,budget=120000
GUEST_WORDS_cpu_bench                   := testctl,budget=120000
GUEST_WORDS_scale                       := testctl,budget=120000
GUEST_WORDS_smp                         := testctl,vcpus=4,budget=60000
GUEST_WORDS_smp_storm                   := testctl,vcpus=3,budget=60000
GUEST_WORDS_smp_bench                   := testctl,vcpus=4,budget=120000
GUEST_WORDS_sched_bench                 := testctl,vcpus=2,budget=120000
GUEST_WORDS_vms_bench                   := testctl,budget=120000
GUEST_WORDS_hold_bench                  := testctl,vcpus=2,shared=39,budget=600000
GUEST_WORDS_limited                     := testctl,mem=8M,limit=64K
GUEST_WORDS_cpus                        := testctl,vcpus=3
GUEST_WORDS_watchpoints                 := testctl,budget=60000
GUEST_WORDS_init                        := testctl,vcpus=2,budget=60000
GUEST_WORDS_pc                          := testctl,pc,vcpus=2
GUEST_WORDS_legacy                      := legacy,vcpus=2
GUEST_WORDS_pci                         := testctl,pci,vcpus=3
GUEST_WORDS_virtio_pci                  := pci
GUEST_WORDS_poweroff                    := pc
GUEST_WORDS_echo                        := pc,live,budget=3600000
GUEST_WORDS_resets                      := pc,vcpus=2,reset=again,budget=60000
GUEST_WORDS_x2apic                      := testctl,vcpus=2
GUEST_WORDS_smp_flush                   := testctl,vcpus=4,budget=60000
GUEST_WORDS_smp_tracked                 := testctl,vcpus=4,budget=60000
GUEST_WORDS_smp_slots                   := testctl,vcpus=4,budget=60000
GUEST_WORDS_smp_ipis                    := testctl,vcpus=4,budget=60000
GUEST_WORDS_smp_ve                      := testctl,vcpus=2,shared=39,ve
GUEST_WORDS_smp_convert                 := testctl,vcpus=2,shared=39,expect=memory-fault
GUEST_WORDS_smp_waits                   := testctl,vcpus=2,shared=39,budget=60000
GUEST_WORDS_forbidden_triple_fault      := testctl,expect=triple-fault
GUEST_WORDS_forbidden_unknown_hypercall := testctl,expect=unknown-hypercall
GUEST_WORDS_forbidden_instruction       := testctl,expect=unsupported-instruction
GUEST_WORDS_forbidden_mmio_delivery     := testctl,expect=mmio-during-delivery
GUEST_WORDS_forbidden_spin              := budget=200,expect=budget
GUEST_WORDS_forbidden_loop              := budget=200,expect=budget
GUEST_WORDS_forbidden_rearm             := budget=200,expect=budget
GUEST_WORDS_forbidden_exits             := budget=200,expect=budget
GUEST_WORDS_forbidden_wait              := budget=200,expect=budget
GUEST_WORDS_forbidden_halt              := expect=halted
GUEST_WORDS_forbidden_fetch             := testctl,expect=memory-fault
GUEST_WORDS_sides                       := testctl,shared=39,execute_only=38
GUEST_WORDS_forbidden_sides             := testctl,shared=39,execute_only=38,expect=memory-fault
GUEST_WORDS_ve                          := testctl,shared=39,execute_only=38,ve
GUEST_WORDS_forbidden_ve                := testctl,shared=39,ve,expect=mmio-during-delivery
GUEST_WORDS_forbidden_stale             := testctl,expect=memory-fault
GUEST_WORDS_td_bench                    := tdx,budget=120000
GUEST_WORDS_td_leaves                   := tdx
GUEST_WORDS_td_forbidden                := tdx,expect=memory-fault
GUEST_WORDS_td_start                    := tdx,vcpus=4
GUEST_WORDS_td_races                    := tdx,vcpus=2
GUEST_WORDS_td_report                   := tdx,quote=test,budget=60000
GUEST_WORDS_td_cpu                      := tdx,vcpus=2

.PHONY: guests
guests: $(GUEST_ELFS) ## build the guest programs

$(B)/guest/obj/%.c.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(GUEST_CFLAGS) -MMD -MP -c $< -o $@

$(B)/guest/obj/%.S.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC) -m64 -I. -MMD -MP -c $< -o $@

# The 64-bit code travels in an ELF32 file, because multiboot1 loaders accept no other.
$(foreach p,$(GUEST_PROGRAMS),$(eval $(B)/guest/$(p).elf: \
    $(patsubst %,$(B)/guest/obj/$(GUEST_DIR)/%.o,$(GUEST_EXTRA_$(p)))))
# It takes the emulator's own table and decoder.
$(B)/guest/differ.elf: $(patsubst %,$(B)/guest/obj/mmio/%.c.o,instructions decode)
# It takes the hypervisor's own bus, with room for more regions.
SCALE_BUS := $(patsubst %,$(B)/guest/obj/%.c.o,mmio/bus)
$(B)/guest/scale.elf: $(SCALE_BUS)
$(SCALE_BUS) $(B)/guest/obj/$(GUEST_DIR)/scale.c.o: GUEST_CFLAGS += -DBUS_REGIONS=4096
GUEST_LD := ld -m elf_x86_64 -nostdlib -z max-page-size=4096 --no-warn-rwx-segments \
            --build-id=none -T $(GUEST_DIR)/rt/guest.ld
$(filter-out $(B)/guest/td_%,$(GUEST_ELFS)): $(B)/guest/%.elf: \
    $(B)/guest/obj/$(GUEST_DIR)/%.c.o $(GUEST_RT) $(GUEST_DIR)/rt/guest.ld
	@mkdir -p $(@D)
	$(Q)$(GUEST_LD) $(filter %.o,$^) -o $@.64
	$(Q)objcopy -O elf32-i386 $@.64 $@

# A TD starts an ELF64 file, at its 64-bit entry point.
$(patsubst %,$(B)/guest/%.elf,$(filter td_%,$(GUEST_PROGRAMS))): $(B)/guest/%.elf: \
    $(B)/guest/obj/$(GUEST_DIR)/%.c.o $(GUEST_RT) $(GUEST_DIR)/rt/guest.ld
	@mkdir -p $(@D)
	$(Q)$(GUEST_LD) -e rt_start_64 $(filter %.o,$^) -o $@

# What is not one of these programs has no other rule.
$(B)/guest/%.elf:
	@echo "GUEST=$*: guest/programs/ has no such program; docs/ABI.md lists them" >&2; false

.PHONY: run-guest
run-guest: $(B)/guest/$(or $(GUEST),hello).elf
run-guest: ## GUEST=hello: it runs directly on QEMU, no hypervisor
	@qemu-system-x86_64 -cpu max -kernel $< -append "$(GUEST_ARGS)" -m 32 -serial stdio -display none \
	    -no-reboot -device isa-debug-exit,iobase=0xf4; test $$? -eq 1
