/* SPDX-License-Identifier: MIT */
/*
 * Observes every store to an EPT table, without help from the code that stores.
 *
 * The pages of all tables that the CPU can reach are mapped read-only. A store to one of them
 * raises SIGSEGV; the handler makes the page writable and lets that one instruction execute (with
 * the trap flag). The SIGTRAP after it makes the page read-only again and checks what the CPU would
 * see now. So every intermediate state is checked, in the order of the stores:
 *
 *   - a store is one aligned 64-bit store by a locked instruction, since other CPUs may store, too;
 *   - the entry translates, or is not present and has bit 63, or is an MMIO SPTE at level 1;
 *   - a table is linked when it is complete: all its entries are sound, and it is linked only once;
 *   - a table that was unlinked changes only to FROZEN, and is freed when no walker can be in it;
 *   - a frame translates as before the operation, or as after it, or not at all, and never with
 *     rights that it has neither before nor after; a page to which a frame translates is not freed.
 *
 * Other pages can be watched in this way, too; see mmu_stores_sides.h.
 *
 * The bits are written as numbers on purpose; see mmu_world.h. Include this in one file.
 */
#pragma once

#include "tests/unit/mmu/mmu_stores_view.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#define READER 1u /* a pCPU that walks without locks and is kicked out of the guest */

/* ---- The first fault that was found ---------------------------------------------------------- */

static char stores_fault[200];
static const char *operation;
static bool operating; /* otherwise the test has failed inside the MMU, with locks held */

__attribute__((format(printf, 1, 2))) static inline void fault_found(const char *format, ...)
{
    va_list arguments;
    if (stores_fault[0])
        return;
    va_start(arguments, format);
    vsnprintf(stores_fault, sizeof(stores_fault), format, arguments);
    va_end(arguments);
}

/* ---- The tables that are watched ------------------------------------------------------------- */

struct watched {
    uint64_t *words;
    uint64_t copy[512];
    unsigned level;  /* level of the table; 0: none */
    uint64_t frame;  /* the first frame */
    bool linked;     /* else it is unlinked, and kept for walkers that are in it */
    uint64_t passes; /* epoch of the reader when it was unlinked */
};

#define WATCHED 256u
static struct watched watched[WATCHED];
static unsigned watched_used;
static struct view views[VIEWS], views_before[VIEWS];
static unsigned views_used;

/* What a frame translated to during an operation. */
#define KEPT 4u
static struct {
    uint8_t count;
    struct view view[KEPT];
} between[VIEWS];

static struct {
    uint64_t stores;   /* stores that changed an entry */
    uint64_t attempts; /* all stores */
    uint64_t linked;   /* tables */
    uint64_t cut;
} seen;

static uint64_t reader_passes;
static void (*memory_stored)(struct watched *t,
                             unsigned index); /* called for pages that are no tables */
static uint64_t *open_word;                   /* the page that is being stored to */
static bool open_sound;                       /* the instruction may store there */
static bool hardware;                         /* the store is one of the CPU, of A or D */
static bool
    sets_bits; /* the CPU sets A and D between a read of an entry and the store that follows */
static bool
    dirtied[WINDOW]; /* frames whose D bit was set in this way, until the log has reported them */

/* Entries of the PML log; collected when the CPU has left the guest. */
#define PML 4096u
static uint64_t pml[PML];
static unsigned pml_used;

static inline struct watched *watched_page(const void *address)
{
    uint64_t page = (uint64_t)address & ~0xfffull;
    for (unsigned i = 0; i < watched_used; i++) {
        if ((uint64_t)watched[i].words == page)
            return &watched[i];
    }
    return NULL;
}

static inline void protect(uint64_t *words, int protection)
{
    if (mprotect(words, 4096, protection))
        abort();
}

static inline void check_word(uint64_t word, unsigned level)
{
    if (!(word & 7)) {
        if (!(word >> 63))
            fault_found("a word without bit 63: %#lx", word);
    } else if (is_mmio_word(word)) {
        if (level != 1)
            fault_found("an MMIO SPTE at level %u", level);
    } else if (hw_misconfigured(word, level) || !(word >> 63) || !(word >> 11 & 1)) {
        fault_found("a word that is a misconfiguration: %#lx at level %u", word, level);
    }
}

static inline void watch(uint64_t *words, unsigned level, uint64_t frame)
{
    struct watched *t = watched_page(words);
    if (t)
        fault_found("a table linked a second time, at frame %#lx level %u", frame, level);
    else if (!support_page_is_used(virt_to_phys(words)))
        fault_found("a freed table linked, at frame %#lx level %u", frame, level);
    if (stores_fault[0] || watched_used == WATCHED) {
        fault_found("more than %u tables", WATCHED);
        return;
    }
    t = &watched[watched_used++];
    *t = (struct watched){.words = words, .level = level, .frame = frame, .linked = true};
    seen.linked++;
    memcpy(t->copy, words, 4096);
    protect(words, PROT_READ);
    for (unsigned i = 0; i < 512; i++) {
        check_word(words[i], level);
        if (points_to_table(words[i], level) && !stores_fault[0])
            watch(table_of(words[i]), level - 1, frame + ((uint64_t)i << 9 * (level - 1)));
    }
}

static inline void cut_off(const uint64_t *words)
{
    struct watched *t = watched_page(words);
    if (!t || !t->linked) {
        fault_found("a table cut off that was not linked");
        return;
    }
    t->linked = false;
    t->passes = reader_passes;
    seen.cut++;
    for (unsigned i = 0; i < 512; i++) {
        if (points_to_table(t->words[i], t->level))
            cut_off(table_of(t->words[i]));
    }
}

/* ---- After each store ------------------------------------------------------------------------ */

static inline void look_again(unsigned i)
{
    struct view now = look(view_frame(i));
    if (same_view(now, views[i]))
        return;
    views[i] = now;
    if (between[i].count == KEPT)
        fault_found("frame %#lx changes more than %u times", view_frame(i), KEPT);
    else
        between[i].view[between[i].count++] = now;
}

static inline void look_at_range(uint64_t first, uint64_t count)
{
    for (unsigned i = 0; i < views_used; i++) {
        if (view_frame(i) - first < count)
            look_again(i);
    }
}

static inline void word_changed(struct watched *t, unsigned index, uint64_t old, uint64_t new)
{
    uint64_t count = 1ull << 9 * (t->level - 1), first = t->frame + index * count;
    check_word(new, t->level);
    if (!t->linked) {
        if (new != SPTE_FROZEN)
            fault_found("%#lx stored into a table that was cut off", new);
        return;
    }
    if (points_to_table(old, t->level) && points_to_table(new, t->level) && old != new)
        fault_found("a table linked in place of another");
    if (points_to_table(old, t->level))
        cut_off(table_of(old));
    if (points_to_table(new, t->level))
        watch(table_of(new), t->level - 1, first);
    look_at_range(first, count);
}

static inline void stored(struct watched *t, unsigned index)
{
    uint64_t old = t->copy[index], new = t->words[index];
    t->copy[index] = new;
    if (memcmp(t->copy, t->words, 4096))
        fault_found("a store wider than one word");
    seen.attempts++;
    if (!open_sound)
        fault_found("a plain or narrow store to a table that others may use, level %u", t->level);
    if (old == new)
        return; /* the compare failed */
    seen.stores++;
    word_changed(t, index, old, new);
}

/* ---- The handlers ---------------------------------------------------------------------------- */

/* Is it a locked CMPXCHG, XADD or XCHG of 64 bits? */
static inline bool stores_atomically(const uint8_t *at)
{
    bool lock = *at == 0xf0;
    at += lock;
    if ((*at & 0xf8) != 0x48) /* REX.W */
        return false;
    return at[1] == 0x87 || (lock && at[1] == 0x0f && (at[2] == 0xb1 || at[2] == 0xc1));
}

/* The CPU walks between the read of the entry and the store: it sets A, and D if it may. */
static inline void walk_in_between(struct watched *t, unsigned index)
{
    uint64_t *word = &t->words[index], old = *word;
    uint64_t count = 1ull << 9 * (t->level - 1), first = t->frame + index * count;
    if (!sets_bits || !t->linked || !(mmu_eptp(&mmu) & 0x40) || !(old & 7) ||
        hw_misconfigured(old, t->level) || points_to_table(old, t->level))
        return;
    *word |= old & 2 ? 0x300 : 0x100;
    t->copy[index] = *word;
    if (!(*word & ~old & 0x200))
        return;
    if (mmu_config()->pml) {
        pml[pml_used++ % PML] = first << 12;
        count = 1;
    }
    for (uint64_t f = first; f < first + count && f < WINDOW; f++)
        dirtied[f] = true;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct watched *t = watched_page(info->si_addr);
    if (!t || !(registers[REG_ERR] & 2)) {
        signal(number, SIG_DFL); /* not a watched page: the fault repeats, and ends the test */
        return;
    }
    open_word = info->si_addr;
    open_sound = !((uint64_t)open_word & 7) &&
                 stores_atomically((const uint8_t *)(uint64_t)registers[REG_RIP]);
    protect(t->words, PROT_READ | PROT_WRITE);
    if (!hardware && t->level)
        walk_in_between(t, (unsigned)(open_word - t->words));
    registers[REG_EFL] |= 0x100;
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    struct watched *t = watched_page(open_word);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100ll;
    protect(t->words, PROT_READ);
    unsigned index = (unsigned)((uint64_t)open_word % 4096 / 8);
    if (hardware)
        t->copy[index] = t->words[index];
    else if (t->level)
        stored(t, index);
    else
        memory_stored(t, index);
}

/* A block is freed. */
static void on_free(hpa_t page, unsigned order)
{
    for (unsigned i = 0; i < watched_used; i++) {
        struct watched *t = &watched[i];
        if (virt_to_phys(t->words).v - page.v >= PAGE_SIZE << order)
            continue;
        if (t->linked)
            fault_found("a table freed while it is linked, at frame %#lx", t->frame);
        else if (t->passes == reader_passes)
            fault_found("a table freed while a walker may be in it, at frame %#lx", t->frame);
        protect(t->words, PROT_READ | PROT_WRITE);
        *t = watched[--watched_used];
        i--;
    }
    for (unsigned i = 0; i < views_used; i++) {
        if (views[i].sight == SEES_RAM && views[i].page - page.v < PAGE_SIZE << order)
            fault_found("a page freed that frame %#lx leads to", view_frame(i));
    }
}

/* Out of the guest the reader still holds its pointers, until it passes its epoch. */
static void reader_kicked(unsigned pcpu)
{
    if (epoch_cpus[pcpu].seen == epoch_now()) {
        tlb_leave(pcpu);
        return;
    }
    reader_passes++;
    world_leave(pcpu);
}

/* ---- Operations ------------------------------------------------------------------------------ */

/* Called before anything that may store; cmocka sets its own handlers around each test and fixture.
 */
static inline void see_stores(void)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction trap = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    assert_int_equal(sigaction(SIGSEGV, &fault, NULL), 0);
    assert_int_equal(sigaction(SIGTRAP, &trap, NULL), 0);
}

static inline void stores_start(void)
{
    watched_used = 0;
    stores_fault[0] = 0;
    pml_used = 0;
    operating = false;
    sets_bits = false;
    memset(dirtied, 0, sizeof(dirtied));
    support_free_hook = on_free;
    kick_hook = reader_kicked;
    epoch_online(READER, NULL);
    views_used = mmu_has_sides(&mmu) ? VIEWS : PLAIN + WINDOW;
    watch(table_of(mmu_eptp(&mmu)), 4, 0);
    for (unsigned i = 0; i < views_used; i++)
        views[i] = look(view_frame(i));
}

static inline void stores_stop(void)
{
    support_free_hook = NULL;
    while (watched_used)
        protect(watched[--watched_used].words, PROT_READ | PROT_WRITE);
    tlb_leave(READER);
    epoch_offline(READER);
}

/* Before an operation the reader enters the guest, and caches all that it can reach. */
static inline void operation_begins(const char *name)
{
    see_stores();
    operation = name;
    operating = true;
    tlb_enter(&mmu, READER);
    reader_passes++;
    memset(&seen, 0, sizeof(seen));
    memset(between, 0, sizeof(between));
    memcpy(views_before, views, sizeof(views));
}

/* Each frame translates as its slot says. */
static inline void check_view(unsigned i)
{
    uint64_t frame = view_frame(i);
    gfn_t gfn = GFN(frame & ~(CODE | SHARED));
    const struct memslot *slot = memslot_find(memslots(&mmu), gfn);
    const void *page = guest_page(&mmu, gfn_to_gpa(GFN(frame & ~CODE)), ACCESS_READ);
    struct view v = views[i];
    if (!same_view(v, look(frame)))
        fail_msg("%s: frame %#lx changed and no store was seen", operation, gfn.v);
    if (v.sight != SEES_RAM)
        return;
    if (!slot || !page || virt_to_phys(page).v != v.page)
        fail_msg("%s: frame %#lx leads to the wrong page %#lx", operation, gfn.v, v.page);
    if ((frame & CODE && v.rights != 4) || (frame & SHARED && v.rights & 4))
        fail_msg("%s: frame %#lx has the rights %u", operation, frame, v.rights);
    uint64_t offset = gfn.v - slot->base.v;
    if (v.rights & 2 && (slot->flags & MEMSLOT_READONLY || track_is(slot, offset)))
        fail_msg("%s: frame %#lx may be written", operation, gfn.v);
    if (v.rights & 2 && slot->dirty && dirty_method() == DIRTY_WRITE_PROTECT &&
        !(slot->dirty[offset / 64] >> (offset % 64) & 1))
        fail_msg("%s: frame %#lx may be written and is not in the log", operation, gfn.v);
}

static inline void operation_ends(bool gap)
{
    operating = false;
    if (stores_fault[0])
        fail_msg("%s: %s", operation, stores_fault);
    for (unsigned i = 0; i < views_used; i++) {
        for (unsigned k = 0; k < between[i].count; k++) {
            struct view v = between[i].view[k];
            if (!may_be_seen(v, views_before[i], views[i], gap))
                fail_msg("%s: frame %#lx was seen as %u, page %#lx, rights %u, in between",
                         operation, view_frame(i), v.sight, v.page, v.rights);
        }
        check_view(i);
    }
    assert_true(pml_used <= PML);
    mmu_pml_note(&mmu, pml, pml_used);
    pml_used = 0;
}

/* `gap`: a frame that translates before and after may not translate in between. */
#define OPERATION(gap, call)                                   \
    do {                                                       \
        uint64_t changes_ = mmu_stats(&mmu).spte_changes;      \
        operation_begins(#call);                               \
        call;                                                  \
        operation_ends(gap);                                   \
        changes_ = mmu_stats(&mmu).spte_changes - changes_;    \
        assert_int_equal(seen.stores, changes_); /* rule P8 */ \
    } while (0)
#define WITH_GAP(call)    OPERATION(true, call)
#define WITHOUT_GAP(call) OPERATION(false, call)
