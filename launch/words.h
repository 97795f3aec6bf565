/*
 * The words of a module's string: `[path][ word...][ -- arguments]`, where a word is `name` or
 * `name=value`. docs/ABI.md lists them.
 */
#pragma once

#include "lib/compiler.h"
#include "mmio/cache.h"
#include "vm/vm.h"

/* Reads `text`, which follows the path, over the defaults; `gva_cache` is the machine's. Gives the
 * offset of the guest's arguments in `text`, or -EINVAL after a message that names the guest. */
int vm_words_parse(const char *name, const char *text, enum gva_cache gva_cache,
                   struct vm_words *into) MUST_CHECK;

/* What this machine and the command line leave to a VM. */
struct vm_limits {
    unsigned address_bits; /* of a guest-physical address */
    bool execute_only;     /* the CPU has such pages */
    uint64_t pcpus;        /* bit n: CPU n runs guests */
};

/* Whether the words go together, each being good for itself. -EINVAL after a sentence that names
 * those that don't. */
int vm_words_check(const char *name, const struct vm_words *words,
                   const struct vm_limits *limits) MUST_CHECK;
