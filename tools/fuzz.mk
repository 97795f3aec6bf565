# SPDX-License-Identifier: MIT
# Fuzzing, of the decoder against Zydis, of the GHCI's hypercalls against a model, of the loaders,
# of virtio by a hostile driver, of PCI, a PC's other devices and an old PC's chips, of the secure
# side by a malicious VMM, of GDB's packets, of the firmware's tables, and of the monitor by its
# person;
# and the list of emulated instructions. Included by the Makefile.

# ---- Fuzzing: tests/fuzz/corpus holds small inputs that reach every row of the decoder's table --
FUZZ_SECONDS ?= 30
# A fixed seed, so that two runs of one tree try the same inputs. FUZZ_SEED=0 takes the time.
FUZZ_SEED    ?= 1
FUZZ_SRC   := mmio/decode.c mmio/instructions.c tests/unit/mmio/mmio_zydis.c
FUZZ_FLAGS := -std=gnu11 -O2 -g -I. -fno-strict-aliasing

# $(1): name, $(2): options, $(3): other folders of inputs
# Outside a test, cmocka exits when an assertion fails, unless it is told to abort, and libFuzzer
# reports only the latter as a crash.
run_fuzz = mkdir -p $(B)/fuzz/$(1).corpus; \
	if CMOCKA_TEST_ABORT=1 $(B)/fuzz/$(1) $(2) -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_SECONDS) \
	    -print_final_stats=1 \
	    -artifact_prefix=$(B)/fuzz/$(1)- $(B)/fuzz/$(1).corpus $(3) >$(B)/fuzz/$(1).log 2>&1; \
	then grep '^stat::' $(B)/fuzz/$(1).log; echo "1 passed, 0 failed, 0 skipped"; \
	else tail -n 40 $(B)/fuzz/$(1).log; echo "0 passed, 1 failed, 0 skipped"; false; fi

GHCI_SRC   := $(filter-out %/test_mmu_threads.c,$(TSAN_SRC)) vm/ghci.c mmio/bus.c \
              mmio/bus_change.c tests/fuzz/fuzz_ghci.c

VIRTIO_SRC := $(wildcard dev/virt*.c dev/pci*.c) mmio/bus.c mmio/bus_change.c dev/switch.c \
              lib/host_tlb.c tests/unit/support.c

LOADER_SRC := $(addprefix launch/,loader.c plan.c elf.c multiboot.c multiboot2.c \
              multiboot2_header.c multiboot2_info.c bzimage.c vmlinux.c linux_boot.c firmware.c \
              bios.c aml.c td_plan.c td_lazy.c) vm/layout.c tests/fuzz/fuzz_loader.c

.PHONY: fuzz fuzz-decode fuzz-ghci fuzz-loader fuzz-virtio fuzz-console fuzz-net fuzz-devices \
    fuzz-legacy fuzz-pci fuzz-secure fuzz-gdb fuzz-monitor fuzz-firmware brute docs \
    lint-instructions deps-fuzz
deps-fuzz:
	@tools/deps.sh lint unit fuzz

fuzz: fuzz-decode fuzz-ghci fuzz-loader fuzz-virtio fuzz-console fuzz-net fuzz-devices \
    fuzz-legacy fuzz-pci fuzz-secure fuzz-gdb fuzz-monitor fuzz-firmware
fuzz: ## fuzz what guests, people, GDB and firmware say, and a malicious VMM asks of the secure side

fuzz-decode: $(B)/fuzz/decode
	$(Q)$(call run_fuzz,decode,-max_len=16,tests/fuzz/corpus)

fuzz-ghci: $(B)/fuzz/ghci
	$(Q)$(call run_fuzz,ghci,-max_len=256)

fuzz-loader: $(B)/fuzz/loader
	$(Q)$(call run_fuzz,loader,-max_len=4096,tests/fuzz/loader)

$(B)/fuzz/loader: $(LOADER_SRC) $(HEADERS) | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -o $@

$(B)/fuzz/ghci: $(GHCI_SRC) $(HEADERS) tests/unit/vm/ghci_model.h tests/unit/vm/ghci_world.h \
    tests/unit/mmu/mmu_world.h tests/unit/support.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -lcmocka -o $@

DEVICES_SRC := $(addprefix dev/,ioapic.c uart.c rtc.c power.c pm_timer.c pit.c) arch/x86/cmos.c \
               lib/calendar.c lib/host_tlb.c tests/unit/support.c tests/fuzz/fuzz_devices.c

fuzz-devices: $(B)/fuzz/devices
	$(Q)$(call run_fuzz,devices,-max_len=512)

$(B)/fuzz/devices: $(DEVICES_SRC) $(HEADERS) tests/unit/dev/ioapic_model.h \
    tests/unit/support.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -lcmocka -o $@

LEGACY_SRC := $(addprefix dev/,fw_cfg.c i8042.c pc_testdev.c pic.c pit.c vga.c) \
              lib/host_tlb.c tests/unit/support.c tests/fuzz/fuzz_legacy.c

fuzz-legacy: $(B)/fuzz/legacy
	$(Q)$(call run_fuzz,legacy,-max_len=512 -len_control=0,tests/fuzz/legacy)

$(B)/fuzz/legacy: $(LEGACY_SRC) $(HEADERS) tests/unit/dev/pic_model.h \
    tests/unit/support.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -lcmocka -o $@

fuzz-pci: $(B)/fuzz/pci
	$(Q)$(call run_fuzz,pci,-max_len=512)

$(B)/fuzz/pci: tests/fuzz/fuzz_pci.c $(PCI_SRC) $(HEADERS) \
    $(wildcard tests/unit/dev/pci_*.h) tests/unit/support.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -lcmocka -o $@

SECURE_FUZZ_SRC := $(wildcard ept/secure*.c) lib/host_tlb.c tests/unit/support.c \
                   tests/fuzz/fuzz_secure.c

fuzz-secure: $(B)/fuzz/secure
	$(Q)$(call run_fuzz,secure,-max_len=512 -len_control=0,tests/fuzz/secure)

$(B)/fuzz/secure: $(SECURE_FUZZ_SRC) $(HEADERS) tests/unit/ept/secure_world.h \
    tests/unit/support.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -lcmocka -o $@

MONITOR_SRC := $(addprefix monitor/,editor.c command.c call.c target.c) \
               $(addprefix lib/,words.c log_list.c visible.c) tests/fuzz/fuzz_monitor.c

fuzz-monitor: $(B)/fuzz/monitor
	$(Q)$(call run_fuzz,monitor,-max_len=512)

$(B)/fuzz/monitor: $(MONITOR_SRC) $(HEADERS) tests/unit/monitor/editor_terminal.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -o $@

GDB_FUZZ_SRC := $(addprefix gdb/,command.c memory.c monitor.c registers.c translate.c wire.c \
                written.c) tests/fuzz/fuzz_gdb.c

fuzz-gdb: $(B)/fuzz/gdb
	$(Q)$(call run_fuzz,gdb,-max_len=1024,tests/fuzz/gdb)

$(B)/fuzz/gdb: $(GDB_FUZZ_SRC) $(HEADERS) tests/unit/gdb/gdb_world.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -o $@

FIRMWARE_SRC := $(addprefix arch/x86/,acpi.c acpi_power.c dmar.c efi.c fadt.c madt.c mcfg.c \
                  pc_parts.c smbios.c spcr.c srat.c) boot/memory_map.c \
                tests/fuzz/fuzz_firmware.c

fuzz-firmware: $(B)/fuzz/firmware
	$(Q)$(call run_fuzz,firmware,-max_len=4097 -len_control=0,tests/fuzz/firmware)

$(B)/fuzz/firmware: $(FIRMWARE_SRC) $(HEADERS) | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -o $@

fuzz-virtio: $(B)/fuzz/virtio
	$(Q)$(call run_fuzz,virtio,-max_len=512)

fuzz-console: $(B)/fuzz/console
	$(Q)$(call run_fuzz,console,-max_len=512)

fuzz-net: $(B)/fuzz/net
	$(Q)$(call run_fuzz,net,-max_len=512)

$(B)/fuzz/virtio $(B)/fuzz/console $(B)/fuzz/net: $(B)/fuzz/%: tests/fuzz/fuzz_%.c \
    $(VIRTIO_SRC) $(HEADERS) $(wildcard tests/unit/dev/virt*.h) tests/unit/dev/net_world.h \
    tests/fuzz/fuzz_pci.h tests/unit/support.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -lcmocka -o $@

$(B)/fuzz/decode: tests/fuzz/fuzz_decode.c $(FUZZ_SRC) $(HEADERS) mmio/instructions.inc \
    tests/unit/mmio/mmio_zydis.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -lZydis -o $@

brute: $(B)/fuzz/brute ## compare the decoder with Zydis: all opcodes, then BRUTE random inputs
	$(Q)$< exhaust && $< random $(BRUTE)
BRUTE ?= 100000000

$(B)/fuzz/brute: tests/fuzz/brute_decode.c $(FUZZ_SRC) $(HEADERS) mmio/instructions.inc \
    tests/unit/mmio/mmio_zydis.h
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(FUZZ_FLAGS) $(WARN) $(filter %.c,$^) -lZydis -o $@

# ---- docs/MMIO_INSTRUCTIONS.md ------------------------------------------------------------------
docs: $(B)/tools/instructions ## write docs/MMIO_INSTRUCTIONS.md from the decoder's table
	$(Q)$< > docs/MMIO_INSTRUCTIONS.md

lint-quick: lint-instructions
lint-instructions: $(B)/tools/instructions
	$(Q)$< | diff -q - docs/MMIO_INSTRUCTIONS.md >/dev/null || \
	    { echo "docs/MMIO_INSTRUCTIONS.md differs from the table; type: make docs" >&2; false; }

$(B)/tools/instructions: tools/instructions.c mmio/instructions.c mmio/instructions.h \
    mmio/instructions.inc
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu11 -O1 -I. $(WARN) $(filter %.c,$^) -o $@
