/* SPDX-License-Identifier: MIT */
/* Checks words of a module's string that are valid one by one, but contradict each other or ask for
 * more than this machine has. The MMU would refuse most of these too, but its error codes do not
 * name the words. Pure. */
#include "launch/words.h"

#include "guest/abi.h"
#include "launch/image.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mmu/root.h"

static uint64_t end_of_ram(const struct vm_words *words)
{
    struct guest_range ram[GUEST_RAM_PIECES];
    uint64_t end = 0;
    guest_layout(words->memory, ram);
    for (unsigned i = 0; i < GUEST_RAM_PIECES; i++)
        if (ram[i].size)
            end = ram[i].base.v + ram[i].size;
    return end;
}

/* Formats the word mem= with the largest unit that divides it: 4G, 96M, 2052K. */
static void write_memory(const struct vm_words *words, char *text, size_t size)
{
    unsigned shift = 30;
    while (words->memory & (BIT(shift) - 1))
        shift -= 10;
    snprintf(text, size, "mem=%lu%c", words->memory >> shift, " KMG"[shift / 10]);
}

static int check_bit(const char *name, const char *word, uint64_t bit,
                     const struct vm_limits *limits)
{
    if (!bit || bit < limits->address_bits)
        return 0;
    log_error("guest %s: %s=%lu: address bit %lu can't be stolen; bits %u to %u can", name, word,
              bit, bit, STOLEN_LOW, limits->address_bits - 1);
    return -EINVAL;
}

/* Checks that memory up to `end` lies below the lowest stolen bit. `what` is the text of the words
 * that placed memory there, for the message. */
static int check_below_stolen(const char *name, const struct vm_words *words, const char *what,
                              uint64_t end)
{
    const bool shared =
        words->shared && (!words->execute_only || words->shared < words->execute_only);
    const uint64_t bit = shared ? words->shared : words->execute_only, limit = 1ul << bit;
    if (!bit || end <= limit)
        return 0;
    log_error("guest %s: %s and %s=%lu: its memory ends at %#lx, but addresses from %#lx on have "
              "the stolen bit %lu set; give it less memory, or take a higher bit",
              name, what, shared ? "shared" : "execute_only", bit, end, limit, bit);
    return -EINVAL;
}

static int check_memory(const char *name, const struct vm_words *words,
                        const struct vm_limits *limits)
{
    char memory[32];
    uint64_t end = end_of_ram(words);
    write_memory(words, memory, sizeof(memory));
    if (end > BIT(limits->address_bits)) {
        log_error("guest %s: %s: its memory ends at %#lx, but addresses have %u bits on this CPU; "
                  "give it less memory",
                  name, memory, end, limits->address_bits);
        return -EINVAL;
    }
    return check_below_stolen(name, words, memory, end);
}

static int refuse_with_tdx(const char *name, const char *word, const char *why)
{
    log_error("guest %s: tdx and %s: %s", name, word, why);
    return -EINVAL;
}

/* Checks words against `tdx`. The word tdx implies some words, so these are accepted with the
 * values that it gives them. */
static int check_tdx(const char *name, const struct vm_words *words, const struct vm_limits *limits)
{
    char word[40];
    if (!words->tdx && words->measure) {
        log_error("guest %s: measure=%u: only the boot shim of a TD measures; add the word tdx, or "
                  "leave measure= out",
                  name, words->measure == MEASURE_ON);
        return -EINVAL;
    }
    if (!words->tdx && words->quote) {
        log_error("guest %s: quote=test: only a TD asks for quotes; add the word tdx, or leave "
                  "quote= out",
                  name);
        return -EINVAL;
    }
    if (!words->tdx && words->accept) {
        log_error("guest %s: accept=%s: only a TD accepts memory; add the word tdx, or leave "
                  "accept= out",
                  name, words->accept == ACCEPT_LAZY ? "lazy" : "all");
        return -EINVAL;
    }
    if (!words->tdx)
        return 0;
    if (limits->address_bits <= TDX_SHARED_BIT) {
        log_error("guest %s: tdx: the shared bit of a TD is bit %u, but addresses have %u bits on "
                  "this CPU, so that it cannot run a TD",
                  name, TDX_SHARED_BIT, limits->address_bits);
        return -EINVAL;
    }
    if (words->shared != TDX_SHARED_BIT) {
        snprintf(word, sizeof(word), "shared=%lu", words->shared);
        return refuse_with_tdx(name, word, "the shared bit of a TD is bit 39; leave shared= out");
    }
    if (words->execute_only) {
        snprintf(word, sizeof(word), "execute_only=%lu", words->execute_only);
        return refuse_with_tdx(name, word,
                               "a TD has no execute-only addresses; leave one of the words out");
    }
    if (words->entry == GUEST_ENTRY_PVH)
        return refuse_with_tdx(name, "entry=pvh",
                               "the boot shim enters a kernel at its 64-bit entry point; leave "
                               "entry=pvh out");
    if (words->kut)
        return refuse_with_tdx(name, "kut",
                               "a TD starts by its boot shim, and no kvm-unit-test can; leave one "
                               "of the words out");
    if (words->legacy)
        return refuse_with_tdx(name, words->vga ? "vga" : "legacy",
                               "the VMM of a TD delivers no interrupts of an 8259; leave the word "
                               "out");
    if (words->testctl && words->tdx != TDX_DEBUG)
        return refuse_with_tdx(name, "testctl",
                               "a TD is protected from the control hypercalls; write tdx=debug, or "
                               "leave testctl out");
    return 0;
}

/* Both have a device at port 0xe0. */
static int check_kut(const char *name, const struct vm_words *words)
{
    if (!words->kut || !words->testctl)
        return 0;
    log_error("guest %s: kut and testctl: their test devices have the same ports; leave one of the "
              "words out",
              name);
    return -EINVAL;
}

int vm_words_check(const char *name, const struct vm_words *words, const struct vm_limits *limits)
{
    char what[32];
    if (words->pin != PIN_NONE && !(limits->pcpus & BIT(words->pin))) {
        log_error(
            "guest %s: pin=%lu, but CPU %lu does not run guests; the bits of %#lx are the CPUs "
            "that do",
            name, words->pin, words->pin, limits->pcpus);
        return -EINVAL;
    }
    if (check_tdx(name, words, limits) || check_kut(name, words) ||
        check_bit(name, "shared", words->shared, limits) ||
        check_bit(name, "execute_only", words->execute_only, limits))
        return -EINVAL;
    if (words->shared && words->shared == words->execute_only) {
        log_error("guest %s: shared=%lu and execute_only=%lu name the same address bit; take two "
                  "different bits",
                  name, words->shared, words->shared);
        return -EINVAL;
    }
    if (words->execute_only && !limits->execute_only) {
        log_error("guest %s: execute_only=%lu: execute-only memory needs execute-only pages, which "
                  "this CPU lacks; leave the word out",
                  name, words->execute_only);
        return -EINVAL;
    }
    int error = check_memory(name, words, limits);
    if (error || !words->ve)
        return error;
    snprintf(what, sizeof(what), words->vcpus > 1 ? "ve, vcpus=%lu" : "ve", words->vcpus);
    return check_below_stolen(name, words, what, VE_AREA_BASE + words->vcpus * PAGE_SIZE);
}
