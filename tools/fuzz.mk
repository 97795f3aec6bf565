# The decoder against Zydis, beyond the unit tests, and the list of instructions. Included by the
# Makefile.

# ---- Fuzzing: tests/fuzz/corpus holds small inputs that reach every row -------------------------
FUZZ_SECONDS ?= 60
FUZZ_SRC   := mmio/decode.c mmio/instructions.c tests/unit/mmio_zydis.c
FUZZ_FLAGS := -std=gnu11 -O2 -g -I. -fno-strict-aliasing

.PHONY: fuzz brute docs lint-instructions deps-fuzz
deps-fuzz:
	@tools/deps.sh lint unit fuzz

fuzz: $(B)/fuzz/decode ## the decoder against Zydis by libFuzzer, for FUZZ_SECONDS
	@mkdir -p $(B)/fuzz/corpus
	$(Q)if $< -max_len=16 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
	    -artifact_prefix=$(B)/fuzz/ $(B)/fuzz/corpus tests/fuzz/corpus >$(B)/fuzz/log 2>&1; \
	then grep '^stat::' $(B)/fuzz/log; echo "1 passed, 0 failed, 0 skipped"; \
	else tail -n 40 $(B)/fuzz/log; echo "0 passed, 1 failed, 0 skipped"; false; fi

$(B)/fuzz/decode: tests/fuzz/fuzz_decode.c $(FUZZ_SRC) $(HEADERS) mmio/instructions.inc \
    tests/unit/mmio_zydis.h | deps-fuzz
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) -lZydis -o $@

brute: $(B)/fuzz/brute ## the decoder against Zydis on all opcodes, then BRUTE random inputs
	$(Q)$< exhaust && $< random $(BRUTE)
BRUTE ?= 100000000

$(B)/fuzz/brute: tests/fuzz/brute_decode.c $(FUZZ_SRC) $(HEADERS) mmio/instructions.inc \
    tests/unit/mmio_zydis.h
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(FUZZ_FLAGS) $(WARN) $(filter %.c,$^) -lZydis -o $@

# ---- docs/MMIO_INSTRUCTIONS.md ------------------------------------------------------------------
docs: $(B)/tools/instructions ## print docs/MMIO_INSTRUCTIONS.md from the decoder's table
	$(Q)$< > docs/MMIO_INSTRUCTIONS.md

lint: lint-instructions
lint-instructions: $(B)/tools/instructions
	$(Q)$< | diff -q - docs/MMIO_INSTRUCTIONS.md >/dev/null || \
	    { echo "docs/MMIO_INSTRUCTIONS.md is not what the table says; type: make docs" >&2; false; }

$(B)/tools/instructions: tools/instructions.c mmio/instructions.c mmio/instructions.h \
    mmio/instructions.inc
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) -std=gnu11 -O1 -I. $(WARN) $(filter %.c,$^) -o $@
