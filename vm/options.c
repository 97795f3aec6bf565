/* SPDX-License-Identifier: MIT */
#include "vm/options.h"

#include "lib/cpu_local.h"
#include "arch/x86/flaws.h"
#include "boot/boot_info.h"
#include "lib/bits.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define FIELD(name) .offset = offsetof(struct options, name)

const char *const gva_cache_values[] = {"off", "exits", "verify", NULL};
static const char *const nx_huge_values[] = {"off", "auto", "force", NULL};
static const char *const ve_values[] = {"auto", "inject", NULL};
static const char *const mitigations_values[] = {"off", "auto", "force", NULL};
static const char *const on_exit_values[] = {"poweroff", "reboot", "halt", NULL};

/* The index of a letter is the code of the key's control character. */
static const char *const escape_values[] = {"off", "a", "b", "c", "d", "e", "f", "g", "h", "i",
                                            "j",   "k", "l", "m", "n", "o", "p", "q", "r", "s",
                                            "t",   "u", "v", "w", "x", "y", "z", NULL};
static const char *const provoke_values[] = {
    "nothing",   "null",    "stack",   "code",      "data",      "bug",        "warn",
    "nmi",       "leak",    "guarded", "private",   "mc",        "triple",     "td",
    "lie_frame", "lie_map", "lie_add", "lie_block", "lie_track", "lie_remove", NULL};

static const char *const export_values[] = {"off", "e9", "com2", NULL};

static const struct word words[] = {
    {.name = "mmio_caching", .kind = WORD_NUMBER, .max = 1, FIELD(mmio_caching)},
    {.name = "gva_cache", .kind = WORD_CHOICE, .choices = gva_cache_values, FIELD(gva_cache)},
    {.name = "ept_ad", .kind = WORD_NUMBER, .max = 1, FIELD(ept_ad)},
    {.name = "vpid", .kind = WORD_NUMBER, .max = 1, FIELD(vpid)},
    {.name = "huge", .kind = WORD_NUMBER, .max = 1, FIELD(huge)},
    {.name = "nx_huge", .kind = WORD_CHOICE, .choices = nx_huge_values, FIELD(nx_huge)},
    {.name = "nx_recovery_ms", .kind = WORD_NUMBER, .max = 3600000, FIELD(nx_recovery_ms)},
    {.name = "pml", .kind = WORD_NUMBER, .max = 1, FIELD(pml)},
    {.name = "ve", .kind = WORD_CHOICE, .choices = ve_values, FIELD(ve)},
    {.name = "mitigations", .kind = WORD_CHOICE, .choices = mitigations_values, FIELD(mitigations)},
    {.name = "slot_generation_start",
     .kind = WORD_NUMBER,
     .max = BIT(62),
     FIELD(slot_generation_start)},
    {.name = "on_exit", .kind = WORD_CHOICE, .choices = on_exit_values, FIELD(on_exit)},
    {.name = "qr", .kind = WORD_NUMBER, .max = 1, FIELD(qr)},
    {.name = "pause", .kind = WORD_NUMBER, .max = 1, FIELD(pause)},
    {.name = "cpus", .kind = WORD_NUMBER, .min = 1, .max = CPUS_MAX, FIELD(cpus)},
    {.name = "escape", .kind = WORD_CHOICE, .choices = escape_values, FIELD(escape)},
    {.name = "monitor", .kind = WORD_FLAG, FIELD(monitor)},
    {.name = "report", .kind = WORD_FLAG, FIELD(report)},
    {.name = "parallel", .kind = WORD_NUMBER, .min = 1, .max = BOOT_MODULES, FIELD(parallel)},
    {.name = "apicv", .kind = WORD_NUMBER, .max = 1, FIELD(apicv)},
    {.name = "x2apic", .kind = WORD_NUMBER, .max = 1, FIELD(x2apic)},
    {.name = "provoke", .kind = WORD_CHOICE, .choices = provoke_values, FIELD(provoke)},
    {.name = "break_field", .kind = WORD_NUMBER, .max = 0x7fff, FIELD(break_field)},
    {.name = "break_value", .kind = WORD_NUMBER, .max = UINT64_MAX, FIELD(break_value)},
    {.name = "poison", .kind = WORD_NUMBER, .max = 1, FIELD(poison)},
    {.name = "entry_checks", .kind = WORD_NUMBER, .max = 1, FIELD(entry_checks)},
    {.name = "serial", .kind = WORD_TEXT, FIELD(serial)},
    {.name = "export", .kind = WORD_CHOICE, .choices = export_values, FIELD(export)},
    {.name = "map", .kind = WORD_NUMBER, .max = 1, FIELD(map)},
    {.name = "counters", .kind = WORD_NUMBER, .max = 1, FIELD(counters)},
    {.name = "stat", .kind = WORD_NUMBER, .min = 100, .max = 3600000, FIELD(stat)},
    {.name = "trace", .kind = WORD_TEXT, FIELD(trace)},
    {.name = "trace_vm", .kind = WORD_TEXT, FIELD(trace_vm)},
    {.name = "trace_gpa", .kind = WORD_TEXT, FIELD(trace_gpa)},
    {.name = "tests", .kind = WORD_TEXT, FIELD(tests)},
    {.name = "gdb", .kind = WORD_TEXT, FIELD(gdb)},
};

bool options_may_change(const char *word)
{
    static const char *const names[] = {"trace=", "escape=", "on_exit=", "counters=", "tests="};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (!strncmp(word, names[i], strlen(names[i])))
            return true;
    return false;
}

int options_change(const char *word, struct options *options)
{
    int parsed = words_parse(word, words, ARRAY_SIZE(words), options, "set");
    return parsed < 0 ? parsed : 0;
}

static struct spinlock tests_lock;

void options_replace(struct options *in_force, const struct options *changed)
{
    WRITE_ONCE(in_force->escape, changed->escape);
    WRITE_ONCE(in_force->on_exit, changed->on_exit);
    WRITE_ONCE(in_force->counters, changed->counters);
    memcpy(in_force->trace, changed->trace, sizeof(in_force->trace)); /* nobody else reads it */
    spin_lock(&tests_lock);
    memcpy(in_force->tests, changed->tests, sizeof(in_force->tests));
    spin_unlock(&tests_lock);
}

void options_tests(const struct options *in_force, char pattern[WORD_TEXT_MAX])
{
    spin_lock(&tests_lock);
    memcpy(pattern, in_force->tests, sizeof(in_force->tests));
    spin_unlock(&tests_lock);
}

int options_parse(const char *command_line, struct options *options)
{
    *options = (struct options){.mmio_caching = 1,
                                .gva_cache = 2,
                                .ept_ad = 1,
                                .vpid = 1,
                                .huge = 1,
                                .nx_huge = NX_HUGE_AUTO,
                                .nx_recovery_ms = 60000,
                                .pml = 1,
                                .mitigations = MITIGATIONS_AUTO,
                                .cpus = CPUS_MAX,
                                .escape = 'A' - '@',
                                .apicv = 1,
                                .x2apic = 1,
                                .break_field = BREAK_NO_FIELD,
                                .entry_checks = 1,
                                .serial = "auto",
                                .trace = "off",
                                .trace_vm = "*",
                                .trace_gpa = "0-0xffffffffffffffff",
                                .tests = "*"};
    int parsed = words_parse(command_line, words, ARRAY_SIZE(words), options, "command line");
    return parsed < 0 ? parsed : 0;
}

bool options_match(const char *pattern, const char *name)
{
    for (; *pattern; pattern++, name++) {
        if (*pattern == '*') {
            for (;; name++) {
                if (options_match(pattern + 1, name))
                    return true;
                if (!*name)
                    return false;
            }
        }
        if (!*name || (*pattern != '?' && *pattern != *name))
            return false;
    }
    return !*name;
}
