/* SPDX-License-Identifier: MIT */
/*
 * The words of a module's string: `[path][ word...][ -- arguments]`, where a word is `name` or
 * `name=value`. docs/ABI.md lists them.
 */
#pragma once

#include "lib/compiler.h"
#include "mmio/cache.h"
#include "vm/vm.h"

/* Parses `text`, the part of the string after the path, into `into`; words that do not occur get
 * their defaults, and that of gva_cache= is `gva_cache`. Returns the offset of the guest's
 * arguments in `text`, or -EINVAL after a message that names the guest. */
int vm_words_parse(const char *name, const char *text, enum gva_cache gva_cache,
                   struct vm_words *into) MUST_CHECK;

/* Sets what the words say about an image whose file is set, and the word `pc` if this is Linux,
 * which needs the interrupt controller and the clock of a PC. */
struct guest_image;
void vm_words_describe(struct vm_words *words, struct guest_image *image);

/* What this machine and the hypervisor's command line allow a VM to have. */
struct vm_limits {
    unsigned address_bits; /* width of guest-physical addresses */
    bool execute_only;     /* the CPU supports execute-only EPT entries */
    uint64_t pcpus;        /* bit n: pCPU n runs guests */
};

/* Checks words that vm_words_parse() has accepted against each other and against `limits`. Returns
 * 0, or -EINVAL after a message that names the words at fault. */
int vm_words_check(const char *name, const struct vm_words *words,
                   const struct vm_limits *limits) MUST_CHECK;
