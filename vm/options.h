/* SPDX-License-Identifier: MIT */
/* The words of the command line (decision D13). Each is accepted only because it works. */
#pragma once

#include "lib/compiler.h"
#include "lib/words.h"

#define BREAK_NO_FIELD 0xffff /* no VMCS field has this encoding */

/* Large pages that may not be executed: never, where the CPU has the flaw that asks for it (a
 * machine check on a page that changes its size while it is executed), always. */
enum nx_huge {
    NX_HUGE_OFF,
    NX_HUGE_AUTO,
    NX_HUGE_FORCE,
};

/* Who delivers #VE to the guests that take it: the CPU where it can, or always we. */
enum ve_delivery {
    VE_AUTO,
    VE_INJECT,
};

struct options {
    uint64_t mmio_caching;
    uint64_t
        gva_cache; /* enum gva_cache of mmio/cache.h, numbered as CONFIG_GVA_CACHE in guest/abi.h */
    uint64_t ept_ad;
    uint64_t vpid;
    uint64_t huge;
    uint64_t nx_huge; /* enum nx_huge */
    uint64_t nx_recovery_ms;
    uint64_t pml;
    uint64_t ve;          /* enum ve_delivery */
    uint64_t mitigations; /* enum mitigations of arch/x86/flaws.h */
    uint64_t slot_generation_start;
    uint64_t on_exit;  /* enum on_exit */
    uint64_t cpus;     /* use at most so many */
    uint64_t parallel; /* VMs at a time; 0: one for each CPU */
    uint64_t x2apic;   /* reach other CPUs by it, where the CPU has it */

    /* For tests of what is said when something breaks. */
    uint64_t provoke;                  /* enum provoke of vm/provoke.h */
    uint64_t break_field, break_value; /* a VMCS field that each VM starts with */
    uint64_t entry_checks;             /* in software before the first entry */
    uint64_t poison;                   /* garbage in what an exit leaves undefined */

    uint64_t counters;         /* of each VM, in its report */
    char trace[WORD_TEXT_MAX]; /* for trace_choose() */
    char tests[WORD_TEXT_MAX]; /* names of the guests to run: a pattern with * and ? */
};

/* Parses the command line over the defaults; -EINVAL after a sentence. */
int options_parse(const char *command_line, struct options *options) MUST_CHECK;

/* The values of gva_cache=, which a module's string can give, too. */
extern const char *const gva_cache_values[];

/* Shell-like match with * and ?. */
bool options_match(const char *pattern, const char *name);
