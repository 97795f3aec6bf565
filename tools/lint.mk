# SPDX-License-Identifier: MIT
# Checks that run no product code: format, warnings of a second compiler, headers that compile
# alone, a static analyser, layers, lengths, the documents' commands. Included by the Makefile. A
# file that passed is not checked again until it changes.

CLANG := clang
# $(1): flags for gcc. The registers of a segment are numbered REG_SEG_… + SEG_…, two enumerations.
for_clang = $(filter-out -nostdinc -isystem %/include -mpreferred-stack-boundary=%,$(1)) \
    -Wmissing-variable-declarations -Wno-enum-enum-conversion -nostdinc -isystem $(CLANG_INCLUDE)
# Clang is asked once, and only if it is used.
CLANG_INCLUDE = $(eval CLANG_INCLUDE := $(shell $(CLANG) -print-resource-dir)/include)\
    $(CLANG_INCLUDE)
CLANG_CFLAGS  = $(call for_clang,$(CFLAGS))
# Versions of clang-format disagree, so the one of Debian 12 is used everywhere.
CLANG_FORMAT := command -v clang-format-14 || \
    tools/unpack.sh bookworm $(B)/clang-format clang-format-14 clang-format-14
FORMATTED := $(shell find $(LAYERS) guest tests -name '*.[ch]')

# No code is made, because only the warnings are wanted.
ONLY_CHECK = -fsyntax-only -MMD -MP -MF $@.d -MT $@

GUEST_SRC_C := $(shell find $(GUEST_DIR) guest/shim -name '*.c')

# Each header has to include what it uses. A source that begins with it shows that when it is
# compiled; the other headers are compiled as the only line of a file.
SHOWN_BY_SOURCE := $(shell grep -hm1 -E '^.(include|define|undef|if|pragma)' $(SRC_C) | \
                     sed -n 's/^.include "\(.*\)"$$/\1/p')
HEADERS_ALONE   := $(filter-out $(SHOWN_BY_SOURCE),$(HEADERS))

.PHONY: lint lint-quick format lint-format lint-layers lint-text lint-docs lint-rules lint-changed \
    lint-deps
# cppcheck and clang take a third of the time of a first `make check`, which therefore lets them
# read only the sources that differ from the last commit; `make lint` and `make test` leave nothing
# out.
CHANGED = $(filter $(shell git diff --name-only HEAD 2>/dev/null; \
    git ls-files --others --exclude-standard 2>/dev/null),$(SRC_C) $(GUEST_SRC_C))
lint: lint-quick $(B)/lint/cppcheck ## check everything without running it
lint: $(SRC_C:%=$(B)/lint/%.clang) $(GUEST_SRC_C:%=$(B)/lint/%.clang)
lint-quick: lint-format lint-layers lint-text lint-docs lint-rules lint-changed \
    $(CHANGED:%=$(B)/lint/%.clang) $(OBJS) \
    $(HEADERS_ALONE:%=$(B)/lint/%.alone)

lint-deps:
	@tools/deps.sh lint base

lint-format: | lint-deps
	$(Q)format=$$($(CLANG_FORMAT)) && $$format --dry-run -Werror $(FORMATTED)

format: ## format the C sources as lint-format wants them
	$(Q)format=$$($(CLANG_FORMAT)) && $$format -i $(FORMATTED)

lint-layers: $(OBJS) | lint-deps
	$(Q)$(PYTHON) tools/layers.py
	$(Q)$(PYTHON) tools/circles.py
	$(Q)$(PYTHON) tools/stores.py

lint-text: | lint-deps
	$(Q)$(PYTHON) tools/textcheck.py

lint-docs: | lint-deps
	$(Q)$(PYTHON) tools/targets.py docs Makefile $(PARTS)
	$(Q)$(PYTHON) tools/functions.py
	$(Q)$(PYTHON) tools/unit_index.py check

.PHONY: unit-index
unit-index: | deps-base ## write tests/unit/README.md from the comments of the tests
	$(Q)$(PYTHON) tools/unit_index.py

lint-rules: | lint-deps
	$(Q)$(PYTHON) tools/rules.py

# cppcheck finds mistakes that the compilers miss in freestanding code: null checks after the
# access, copies beyond an array, contradictory conditions. The suppressed checks misread the
# linker's symbols (comparePointers, subtractPointers), outputs of assembly (legacyUninitvar,
# uninitvar) or a compound literal after a question mark (internalAstError), or only say that the
# analysis is not exhaustive. cppcheck does not know `asm goto`.
CPPCHECK := cppcheck --quiet --enable=warning,performance,portability --error-exitcode=1 \
    --platform=unix64 -D__x86_64__ '-Dgoto(...)=' -I. --suppress=uninitvar:vmx/vmcs.h \
    $(addprefix --suppress=,comparePointers subtractPointers legacyUninitvar internalAstError \
    normalCheckLevelMaxBranches)
$(B)/lint/cppcheck: $(SRC_C) $(HEADERS) | lint-deps
	@mkdir -p $@.cache
	$(Q)$(CPPCHECK) --cppcheck-build-dir=$@.cache $(SRC_C)
	@touch $@

lint-changed: | lint-deps
	$(Q)changed="$(filter $(CHANGED),$(SRC_C))"; test -z "$$changed" || $(CPPCHECK) $$changed

$(B)/lint/guest/%.c.clang: guest/%.c | lint-deps
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(call for_clang,$(GUEST_CFLAGS)) $(ONLY_CHECK) $< && touch $@

$(B)/lint/%.c.clang: %.c | lint-deps
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CLANG_CFLAGS) $(ONLY_CHECK) $< && touch $@

# Headers that no source of the image begins with. The sources show clang's warnings about them.
$(B)/lint/%.h.alone: %.h
	@mkdir -p $(@D)
	$(Q)echo '#include "$<"' | $(CC) $(CFLAGS) $(ONLY_CHECK) -xc - && touch $@
