/* SPDX-License-Identifier: MIT */
/*
 * Parses the words of a module's string into a VM's description. launch/word_conflicts.c checks how
 * they go together. Pure.
 */
#include "launch/words.h"

#include "boot/boot_info.h"
#include "launch/loader.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "lib/words.h"
#include "mmu/root.h"
#include "vm/layout.h"
#include "vm/options.h"

#define BUDGET_DEFAULT_MS 10000

static const char *const ending_names[] = {
#define X(name, text) text,
    VM_ENDINGS(X)
#undef X
        "any",
    NULL,
};

/* By enum guest_entry of launch/image.h. */
static const char *const entry_names[] = {"auto", "pvh", "64", NULL};

/* By enum reset_action. */
static const char *const reset_names[] = {"end", "again", NULL};

/* By enum console_word. */
static const char *const console_names[] = {"uart", "virtio", NULL};

/* By enum tdx, enum measure, enum unknown_vmcall and enum td_accept_word, from 1 on. */
static const char *const tdx_names[] = {"", "debug", NULL};
static const char *const measure_names[] = {"0", "1", NULL};
static const char *const vmcall_names[] = {"end", "error", NULL};
static const char *const accept_names[] = {"all", "lazy", NULL};

/* By enum quote. */
static const char *const quote_names[] = {"none", "test", NULL};

#define FIELD(name) .offset = offsetof(struct vm_words, name)

static const struct word words[] = {
    {.name = "testctl", .kind = WORD_FLAG, FIELD(testctl)},
    {.name = "pc", .kind = WORD_FLAG, FIELD(pc)},
    {.name = "legacy", .kind = WORD_FLAG, FIELD(legacy)},
    {.name = "vga", .kind = WORD_FLAG, FIELD(vga)},
    {.name = "pci", .kind = WORD_FLAG, FIELD(pci)},
    {.name = "net", .kind = WORD_FLAG, FIELD(net)},
    {.name = "kut", .kind = WORD_FLAG, FIELD(kut)},
    {.name = "rng", .kind = WORD_FLAG, FIELD(rng)},
    {.name = "live", .kind = WORD_FLAG, FIELD(live)},
    {.name = "console", .kind = WORD_CHOICE, .choices = console_names, FIELD(console)},
    {.name = "mem", .kind = WORD_SIZE, .min = GUEST_RAM_MIN, .max = GUEST_RAM_MAX, FIELD(memory)},
    {.name = "budget", .kind = WORD_NUMBER, .min = 1, .max = BUDGET_MAX_MS, FIELD(budget)},
    {.name = "expect", .kind = WORD_CHOICE, .choices = ending_names, FIELD(expect)},
    {.name = "shared", .kind = WORD_NUMBER, .min = STOLEN_LOW, .max = 47, FIELD(shared)},
    {.name = "execute_only",
     .kind = WORD_NUMBER,
     .min = STOLEN_LOW,
     .max = 47,
     FIELD(execute_only)},
    {.name = "ve", .kind = WORD_FLAG, FIELD(ve)},
    {.name = "gva_cache", .kind = WORD_CHOICE, .choices = gva_cache_values, FIELD(gva_cache)},
    {.name = "vcpus", .kind = WORD_NUMBER, .min = 1, .max = VCPUS_MAX, FIELD(vcpus)},
    {.name = "entry", .kind = WORD_CHOICE, .choices = entry_names, FIELD(entry)},
    {.name = "reset", .kind = WORD_CHOICE, .choices = reset_names, FIELD(reset)},
    {.name = "tdx", .kind = WORD_CHOICE, .min = TDX_PROTECTED, .choices = tdx_names, FIELD(tdx)},
    {.name = "accept",
     .kind = WORD_CHOICE,
     .min = ACCEPT_ALL,
     .choices = accept_names,
     FIELD(accept)},
    {.name = "measure",
     .kind = WORD_CHOICE,
     .min = MEASURE_OFF,
     .choices = measure_names,
     FIELD(measure)},
    {.name = "quote", .kind = WORD_CHOICE, .choices = quote_names, FIELD(quote)},
    {.name = "unknown_vmcall",
     .kind = WORD_CHOICE,
     .min = UNKNOWN_VMCALL_END,
     .choices = vmcall_names,
     FIELD(unknown_vmcall)},
    {.name = "limit", .kind = WORD_SIZE, .max = GUEST_RAM_MAX, FIELD(limit)},
    {.name = "pin", .kind = WORD_NUMBER, .max = CPUS_MAX - 1, FIELD(pin)},
};

/* kvm-unit-tests need an old PC, and some of them make hypercalls that only KVM has. The chips of
 * an old PC are beside those of a PC, and PCI functions send interrupts to its I/O APIC. A TD has a
 * shared bit, takes #VE, and needs that interrupt controller, too. */
static void imply(struct vm_words *given)
{
    if (given->kut && !given->unknown_vmcall)
        given->unknown_vmcall = UNKNOWN_VMCALL_ERROR;
    given->legacy |= given->vga | given->kut;
    given->pc |= given->pci | given->legacy;
    if (!given->tdx)
        return;
    given->pc = given->ve = 1;
    if (!given->shared)
        given->shared = TDX_SHARED_BIT;
}

int vm_words_parse(const char *name, const char *text, enum gva_cache gva_cache,
                   struct vm_words *into)
{
    char where[64];
    snprintf(where, sizeof(where), "guest %s", name);
    *into = (struct vm_words){.memory = GUEST_RAM_DEFAULT,
                              .budget = BUDGET_DEFAULT_MS,
                              .gva_cache = gva_cache,
                              .pin = PIN_NONE,
                              .vcpus = 1,
                              .limit = LIMIT_NONE};
    int arguments = words_parse(text, words, ARRAY_SIZE(words), into, where);
    into->memory = align_down(into->memory, PAGE_SIZE);
    imply(into);
    return arguments;
}

void vm_words_describe(struct vm_words *given, struct guest_image *image)
{
    if (load_is_linux(image->file, image->size))
        given->pc = 1;
    image->entry = given->tdx ? GUEST_ENTRY_64 : (enum guest_entry)given->entry;
    image->cpus = (unsigned)given->vcpus;
    image->pc = given->pc;
    image->legacy = given->legacy;
    image->pci = given->pci;
    image->net = given->net;
    image->rng = given->rng;
    image->hvc = given->console == CONSOLE_VIRTIO;
    image->td = given->tdx;
    image->measure = given->measure != MEASURE_OFF;
    image->lazy = given->accept == ACCEPT_LAZY;
}
