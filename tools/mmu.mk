# What proves the MMU beyond the unit tests: threads under ThreadSanitizer, the long run against the
# adversary, mutants, proofs, and its cost. Included by the Makefile.

# ---- Threads ----------------------------------------------------------------------------------
TSAN_FLAGS := $(filter-out -fsanitize=% -fno-sanitize-recover=all,$(HOSTFLAGS))
TSAN_SRC   := $(wildcard mmu/*.c ept/*.c) lib/rwlock.c lib/epoch.c lib/trace.c \
              tests/unit/support.c tests/unit/test_mmu_threads.c
TSAN_SRC   := $(filter-out $(IMPURE),$(TSAN_SRC))

.PHONY: tsan model
tsan: $(B)/tsan/threads ## the MMU on four CPUs at once, under ThreadSanitizer
	$(Q)TSAN_OPTIONS=halt_on_error=1 $<

$(B)/tsan/threads: $(TSAN_SRC) $(HEADERS) tests/unit/support.h
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(TSAN_FLAGS) -fsanitize=thread $(TSAN_SRC) -lcmocka -lpthread -o $@

# ---- The model: ten million steps, two processes ------------------------------------------------
model: $(B)/unit/test_mmu_adversary ## ten million steps against the worst TLB
	$(Q)status=0; for half in 0 1; do \
	    ADVERSARY_STEPS=1000000 ADVERSARY_SEED=$$((101 + half)) $< & pids="$$pids $$!"; done; \
	    for p in $$pids; do wait $$p || status=1; done; exit $$status

# ---- Mutants ------------------------------------------------------------------------------------
# They are linked with the objects of `make unit`, and compiled as those were.
MUTANTS_KILLED_BY := $(filter $(addprefix $(B)/unit/test_,spte ept_format mmu_%),$(UNIT_TESTS))
MUTANTS :=

.PHONY: mutants mutants-sample lint-mutants
mutants mutants-sample: export HOSTCC := $(HOSTCC)
mutants mutants-sample: export HOSTFLAGS := $(HOSTFLAGS)
mutants: $(MUTANTS_KILLED_BY) ## break each rule of the MMU and see a test fail; MUTANTS=names
	$(Q)$(PYTHON) tools/mutants.py $(MUTANTS)

mutants-sample: $(MUTANTS_KILLED_BY) ## the same with ten of them, others each day
	$(Q)$(PYTHON) tools/mutants.py --sample 10

lint-mutants: | lint-deps
	$(Q)$(PYTHON) tools/mutants.py --lint

# ---- Proofs -------------------------------------------------------------------------------------
.PHONY: prove
prove: ## prove statements about SPTE words with CBMC
	$(Q)tools/prove.sh $(B)/cbmc

# ---- Cost: instructions guest to guest, on an emulator that counts them -------------------------
.PHONY: bench-mmu bench-mmio
bench-mmu: all guests $(B)/optrom.bin | deps-run ## what the MMU costs, in instructions
	$(Q)$(PYTHON) tools/bench.py mmu mmu,ept_ad=0

bench-mmio: all guests $(B)/optrom.bin | deps-run ## what exits and MMIO cost, in instructions
	$(Q)$(PYTHON) tools/bench.py exits
