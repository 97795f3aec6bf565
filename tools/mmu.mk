# SPDX-License-Identifier: MIT
# Tests of the MMU beyond the unit tests: threads under ThreadSanitizer, the long run against the
# adversary, mutants and proofs; and benchmarks. Included by the Makefile.

# ---- Threads ----------------------------------------------------------------------------------
TSAN_FLAGS := $(filter-out -fsanitize=% -fno-sanitize-recover=all,$(HOSTFLAGS))
TSAN_SRC   := $(wildcard mmu/*.c ept/*.c) \
              $(addprefix lib/,bit_words.c rwlock.c epoch.c patience.c host_tlb.c) \
              $(wildcard lib/trace*.c) tests/unit/support.c tests/unit/mmu/test_mmu_threads.c
TSAN_SRC   := $(filter $(PURE) tests/%,$(TSAN_SRC))

# The secure side knows nothing of mmu/, and is tested without it.
SECURE_SRC := $(wildcard ept/secure*.c) lib/host_tlb.c tests/unit/support.c \
              tests/unit/ept/test_secure_threads.c

PCI_SRC := $(addprefix dev/,pci.c pci_function.c pci_host.c pci_interrupts.c) mmio/bus.c \
           mmio/bus_change.c lib/host_tlb.c tests/unit/support.c

.PHONY: tsan model
# The MMU, the secure side, a disk of several vCPUs, the switch, the PCI bus, trace events that
# leave the machine, and the console's monitor beside GDB's.
TSAN := threads mirror secure disk switch pci trace monitor
tsan: $(TSAN:%=$(B)/tsan/%) ## what CPUs share, by TSan
	$(Q)for program in $^; do TSAN_OPTIONS=halt_on_error=1 $$program || exit 1; done

$(B)/tsan/threads: $(TSAN_SRC)
$(B)/tsan/mirror: $(TSAN_SRC:%/test_mmu_threads.c=%/test_mmu_mirror_threads.c)
$(B)/tsan/secure: $(SECURE_SRC)
# A lock orders all changes of the bus, and nobody looks anything up: its fences do not matter.
$(B)/tsan/pci: TSAN_FLAGS += -Wno-tsan
$(B)/tsan/pci: $(PCI_SRC) tests/unit/dev/test_pci_threads.c
$(B)/tsan/switch: dev/switch.c lib/host_tlb.c tests/unit/support.c \
    tests/unit/dev/test_switch_threads.c
$(B)/tsan/trace: $(wildcard lib/trace*.c) arch/x86/export.c lib/host_tlb.c tests/unit/support.c \
    tests/unit/lib/test_trace_export_threads.c
# The compiler does not instrument a memcpy() that it expands itself.
$(B)/tsan/monitor: TSAN_FLAGS += -fno-builtin-memcpy
$(B)/tsan/monitor: $(addprefix monitor/,call.c command.c target.c rates.c set.c) vm/options.c \
    $(addprefix lib/,words.c log_list.c visible.c epoch.c patience.c host_tlb.c) \
    tests/unit/support.c tests/unit/monitor/test_monitor_threads.c
$(B)/tsan/%: $(HEADERS) $(wildcard tests/unit/*.h tests/unit/*/*.h)
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(TSAN_FLAGS) -fsanitize=thread $(filter %.c,$^) -lcmocka -lpthread -o $@

# vm/virtio_unit.c and vm/dma.c are part of the test. ThreadSanitizer does not know fences, but
# those of a queue order accesses to guest memory, which are atomic.
TSAN_DISK := $(addprefix dev/,virtio.c virtio_blk.c virtio_mmio.c virtq.c locked.c ioapic.c) \
             lib/host_tlb.c tests/unit/support.c tests/unit/vm/test_disk_threads.c
$(B)/tsan/disk: $(TSAN_DISK) vm/virtio_unit.c vm/dma.c $(HEADERS) tests/unit/support.h
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(TSAN_FLAGS) -Wno-tsan -fsanitize=thread $(TSAN_DISK) -lcmocka -lpthread -o $@

# ---- The model: ten million steps ---------------------------------------------------------------
# Two of the processes take a million steps of the MMU in each of five configurations, the others
# five million with a mirror, and ten million calls of the secure side. They are compiled for speed;
# `make unit` has shorter runs with the sanitizers. The seed changes each day; `make model SEED=`
# repeats a run.
MODEL_FLAGS := $(filter-out -O1 -fsanitize=% -fno-sanitize-recover=all,$(HOSTFLAGS)) -O2
MODEL_SRC   := $(TSAN_SRC:%/test_mmu_threads.c=%/test_mmu_adversary.c)
SEED        := $(shell date +%Y%m%d)

model: export SECURE_STEPS    := 10000000
model: export MIRROR_STEPS    := 5000000
model: export ADVERSARY_STEPS := 1000000
model: export SECURE_SEED     := $(SEED)
model: export MIRROR_SEED     := $(SEED)
model: $(addprefix $(B)/model/,adversary mirror secure) ## 10^7 steps against the worst TLB; SEED=
	$(Q)cd $(B)/model; \
	for run in adversary.0 adversary.1 mirror.0 secure.0; do \
	    ADVERSARY_SEED=$(SEED)$${run#*.} ./$${run%.*} >$$run 2>&1 & pids="$$pids $$!"; done; \
	status=0; for p in $$pids; do wait $$p || status=1; done; cat *.[01]; \
	[ $$status = 0 ] || echo "to repeat it: make model SEED=$(SEED)"; exit $$status

$(B)/model/adversary: $(MODEL_SRC)
$(B)/model/mirror: $(MODEL_SRC:%/test_mmu_adversary.c=%/test_mmu_mirror_adversary.c)
$(B)/model/secure: $(SECURE_SRC:%_threads.c=%_adversary.c)
$(B)/model/%: $(HEADERS) $(wildcard tests/unit/*.h tests/unit/*/*.h)
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(MODEL_FLAGS) $(filter %.c,$^) -lcmocka -o $@

# ---- Mutants ------------------------------------------------------------------------------------
# Mutants are compiled with the flags of `make unit`, and linked with its objects.
MUTANTS :=

.PHONY: mutants mutants-sample lint-mutants
mutants mutants-sample: export HOSTCC := $(HOSTCC)
mutants mutants-sample: export HOSTFLAGS := $(HOSTFLAGS)
mutants mutants-sample: export UNIT_LD := $(UNIT_LD)
mutants mutants-sample: all guests $(B)/optrom.bin | deps-target
mutants: $(UNIT_TESTS) ## break each rule, one at a time, and check that a test fails; MUTANTS=names
	$(Q)$(PYTHON) tools/mutants.py $(MUTANTS)

mutants-sample: $(UNIT_TESTS) ## ten of the mutants, different ones each day
	$(Q)$(PYTHON) tools/mutants.py --sample 10

lint-quick: lint-mutants
lint-mutants: | lint-deps
	$(Q)$(PYTHON) tools/mutants.py --lint

.PHONY: gaps
gaps: all guests $(B)/optrom.bin $(NESTED) | deps-run
gaps: ## list which mutants the guests detect on the emulator; slow. MACHINE=nested: in KVM
	$(Q)$(PYTHON) tools/gaps.py $(MUTANTS)

# ---- Proofs -------------------------------------------------------------------------------------
.PHONY: prove
prove: ## prove statements about SPTEs, roots and the secure side with CBMC
	$(Q)tools/prove.sh $(B)/cbmc

# ---- Costs, in instructions from guest to guest, which the emulator counts ----------------------
.PHONY: bench bench-mmu bench-mmio bench-cpu bench-io bench-linux bench-tdx bench-private bench-smp
KVM_HALF := $(if $(QUICK),,$(addprefix $(B)/kvm/,init seed.so kernel))
ifeq ($(MACHINE),serial) # docs/MACHINES.md
bench: | deps-base
	$(Q)$(PYTHON) tools/box.py bench
else
bench: all guests $(B)/optrom.bin $(KVM_HALF) | deps-run
bench: ## costs, compared with KVM; QUICK=1: eptvisor alone
	$(Q)$(if $(QUICK),,tools/deps.sh bench)
	$(Q)$(PYTHON) tools/compare.py $(if $(QUICK),--quick)
endif

# Debian's stock cloud kernel, or KERNEL=another package; it is unpacked here, not installed.
$(B)/kvm/kernel: tools/kvm/fetch.sh
	@tools/deps.sh kvm
	$(Q)rm -rf $@ && tools/kvm/fetch.sh $@.new $(KERNEL) && mv $@.new $@ && touch $@

$(B)/kvm/init: tools/kvm/launcher.c tools/kvm/kernel.c tools/kvm/kernel.h
$(B)/kvm/nested: tools/kvm/nested.c
$(B)/kvm/init $(B)/kvm/nested: tools/kvm/init.h guest/abi.h | deps-unit
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu11 -O2 $(WARN) -I. -static -s $(filter %.c,$^) -o $@

$(B)/kvm/seed.so: tools/kvm/seed.c
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu11 -O2 $(WARN) -shared -fPIC $< -o $@

bench-mmu: all guests $(B)/optrom.bin | deps-run ## what the MMU costs, in instructions
	$(Q)$(PYTHON) tools/bench.py mmu mmu,ept_ad=0

bench-mmio: all guests $(B)/optrom.bin | deps-run ## what exits and MMIO cost, in instructions
	$(Q)$(PYTHON) tools/bench.py exits mmio

bench-cpu: all guests $(B)/optrom.bin | deps-run ## what CPUID, timers and pending interrupts cost
	$(Q)$(PYTHON) tools/bench.py cpu

bench-io: all guests $(B)/optrom.bin | deps-run ## what a PC's devices cost
	$(Q)$(PYTHON) tools/bench.py io

bench-linux: all $(LINUX_FILES) | deps-run ## what Linux' boot costs the hypervisor
	$(Q)$(PYTHON) tools/linux_bench.py

bench-tdx: all $(TDX_FILES) | deps-run ## what Linux' boot costs as a TDX guest; some minutes
	$(Q)$(PYTHON) tools/linux_bench.py --tdx

bench-private: all guests $(B)/optrom.bin | deps-run ## what private memory and #VE cost
	$(Q)$(PYTHON) tools/bench.py private,bits=0 private,bits=1 private,bits=2 private,ve \
	    private,ve=inject

bench-smp: all guests $(B)/optrom.bin | deps-run ## what flushes, IPIs, switches and long exits cost
	$(Q)$(PYTHON) tools/bench.py smp,cpus=4 smp,cpus=2 smp,cpus=1 vms vms,cpu=tigerlake \
	    vms,cpu=corei7_skylake_x hold,cpus=1 hold,huge=1
