# What can be checked without running: format, warnings of a second compiler, headers that stand
# alone, layers, lengths. Included by the Makefile. What passed is not checked again until it
# changes.

CLANG := clang
CLANG_CFLAGS = $(filter-out -nostdinc -isystem %/include,$(CFLAGS)) -nostdinc \
    -isystem $(shell $(CLANG) -print-resource-dir)/include
FORMATTED := $(shell find $(LAYERS) tests -name '*.[ch]')

.PHONY: lint lint-format lint-layers lint-text lint-docs lint-deps
lint: lint-format lint-layers lint-text lint-docs ## what can be checked without running
lint: $(SRC_C:%=$(B)/lint/%.clang) \
    $(HEADERS:%=$(B)/lint/%.gcc) $(HEADERS:%=$(B)/lint/%.clang)

lint-deps:
	@tools/deps.sh lint base

lint-format: | lint-deps
	$(Q)clang-format --dry-run -Werror $(FORMATTED)

lint-layers: | lint-deps
	$(Q)$(PYTHON) tools/layers.py

lint-text: | lint-deps
	$(Q)$(PYTHON) tools/textcheck.py

$(B)/lint/%.c.clang: %.c | lint-deps
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CLANG_CFLAGS) -MMD -MP -MF $@.d -MT $@ -c $< -o $@

lint-docs: | lint-deps
	$(Q)$(PYTHON) tools/targets.py docs Makefile $(PARTS)

# A header is compiled as the only line of a file, so it has to include what it uses.
$(B)/lint/%.h.gcc: %.h
	@mkdir -p $(@D)
	$(Q)echo '#include "$<"' | $(CC) $(CFLAGS) -MMD -MP -MF $@.d -MT $@ -xc -c - -o $@

$(B)/lint/%.h.clang: %.h | lint-deps
	@mkdir -p $(@D)
	$(Q)echo '#include "$<"' | $(CLANG) $(CLANG_CFLAGS) -MMD -MP -MF $@.d -MT $@ -xc -c - -o $@
