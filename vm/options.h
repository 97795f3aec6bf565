/* SPDX-License-Identifier: MIT */
/* The words of the command line (decision D13). A word is accepted only if it has an effect. */
#pragma once

#include "lib/compiler.h"
#include "lib/words.h"

#define BREAK_NO_FIELD 0xffff /* no VMCS field has this encoding */

/* When large pages are mapped without execute access: never; if the CPU has the flaw that requires
 * it (a machine check when a page changes its size while it is executed); always. */
enum nx_huge {
    NX_HUGE_OFF,
    NX_HUGE_AUTO,
    NX_HUGE_FORCE,
};

/* Who delivers #VE to guests that take it: the CPU if it can, or always the hypervisor. */
enum ve_delivery {
    VE_AUTO,
    VE_INJECT,
};

/* The device of the export channel (arch/x86/export.h). */
enum export_to {
    EXPORT_OFF,
    EXPORT_E9,   /* the debug port of Bochs and QEMU */
    EXPORT_COM2, /* the second serial port */
};

struct options {
    uint64_t mmio_caching;
    uint64_t gva_cache; /* enum gva_cache; numbered as CONFIG_GVA_CACHE */
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
    uint64_t qr;       /* show the end of the log as QR codes */
    uint64_t pause;    /* show the log page by page at the end */
    uint64_t cpus;     /* the maximum number of CPUs to use */
    uint64_t parallel; /* VMs that run at a time; 0: one for each CPU */
    uint64_t escape;   /* the console's escape key, a control character; 0: none */
    uint64_t apicv;    /* the CPU delivers the interrupts of guests' x2APICs, if it can */
    uint64_t x2apic;   /* send IPIs by the x2APIC, if the CPU has one */

    uint64_t monitor; /* begin with the monitor */
    uint64_t report;  /* describe the machine; without guests this is all there is to do */

    /* For tests of the messages when something breaks. */
    uint64_t provoke;                  /* enum provoke of vm/provoke.h */
    uint64_t break_field, break_value; /* a field of each VM's first VMCS, and its value */
    uint64_t entry_checks;             /* check the VMCS before the first entry */
    uint64_t poison;                   /* put garbage into undefined exit fields */

    char serial[WORD_TEXT_MAX]; /* for serial_settle() */
    uint64_t export;            /* enum export_to */
    uint64_t map;               /* draw VMs' memory into the export channel; needs one */
    uint64_t stat;              /* print them each so many milliseconds; 0: never */
    uint64_t counters;          /* print each VM's counters in its report */
    char trace[WORD_TEXT_MAX];  /* for trace_choose() */
    char trace_vm[WORD_TEXT_MAX], trace_gpa[WORD_TEXT_MAX]; /* for trace_choose_part() */
    char tests[WORD_TEXT_MAX]; /* a pattern for the names of guests to run */
    char gdb[WORD_TEXT_MAX];   /* the number or name of the VM that a debugger controls; "": none */
};

/* Sets the defaults and parses the command line. Returns 0, or -EINVAL after a message. */
int options_parse(const char *command_line, struct options *options) MUST_CHECK;

/* Is the text one of the words that may change while the machine runs: trace=, escape=, on_exit=,
 * counters= or tests=? */
bool options_may_change(const char *word);

/* Parses a word into *options. Returns 0, or -EINVAL after a message. */
int options_change(const char *word, struct options *options) MUST_CHECK;

/* Puts the words that may change into force, while other CPUs read them: tests= by options_tests(),
 * and the numbers as they are. One CPU at a time calls it. */
void options_replace(struct options *in_force, const struct options *changed);

/* Copies the pattern of tests=. */
void options_tests(const struct options *in_force, char pattern[WORD_TEXT_MAX]);

/* The values of `gva_cache=`, which is also a word of a module's string. */
extern const char *const gva_cache_values[];

/* Matches a name with a pattern in which * and ? mean what they do in a shell. */
bool options_match(const char *pattern, const char *name);
