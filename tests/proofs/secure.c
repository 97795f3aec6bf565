/* SPDX-License-Identifier: MIT */
/*
 * Proofs about the secure side, for CBMC: for all operands, any owners of all frames, and any
 * values in the tables on the way to an entry.
 */
#include "ept/secure_blocks.h"
#include "ept/secure_walk.h"
#include "ept/tdx_status.h"
#include "lib/host_tlb.h"
#include "lib/string.h"
#include "tests/proofs/proof.h"

void __CPROVER_havoc_object(void *object);

/* The map has one block that may be present; its first frames may be used. A large page is left to
 * tests/unit/ept/. */
#define BASE   SECURE_BLOCK_SIZE
#define FRAMES 4
#define ROOT   0 /* the TD's tables are the first frames of the block */
#define TABLE  1

/* The guest frame of all calls. It is constant, so that the indexes into tables are; the entries'
 * values are not. */
#define THE_GFN 0x605ull

static struct secure_frame frames[FRAMES]; /* the others are never looked at */
static struct secure_block blocks[3];
static uint64_t root[EPT_ENTRIES], table[EPT_ENTRIES], content[EPT_ENTRIES];
static uint64_t *const entry_2m = &root[THE_GFN / EPT_ENTRIES];
static uint64_t *const entry_4k = &table[THE_GFN % EPT_ENTRIES];
static struct secure_map map = {3, blocks};
static struct secure_td td, other;

/* The map of owners may have any contents for this block, and none for other blocks. Pages that are
 * not among the first frames are left out, to keep the proofs small. */
static void any_map(void)
{
    __CPROVER_havoc_object(frames);
    blocks[1] = (struct secure_block){frames, nondet_u64() & 0xffffffff};
    ASSUME(blocks[1].use & SECURE_PRESENT);
}

static uint64_t any_page(void)
{
    uint64_t page = nondet_u64();
    ASSUME(page < BASE + FRAMES * PAGE_SIZE || page >= BASE + SECURE_BLOCK_SIZE);
    return page;
}

/* X12: if claims of two TDs succeed, the pages are in the pool, and are not the same. */
void prove_one_owner(void)
{
    any_map();
    uint64_t a = any_page(), b = any_page();
    if (secure_claim(&map, &td, HPA(a), EPT_LEVEL_4K))
        return;
    PROVE(!page_offset(a) && a >= BASE && a - BASE < FRAMES * PAGE_SIZE);
    PROVE(secure_frame(&map, HPA(a))->owner == &td);
    if (secure_claim(&map, &other, HPA(b), EPT_LEVEL_4K))
        return;
    PROVE(!page_offset(b) && a != b);
}

/* X12, X15: a claim that is refused changes nothing, and a page that is released can be claimed
 * again. */
void prove_a_released_page_is_free(void)
{
    any_map();
    unsigned frame = nondet_unsigned() % FRAMES;
    uint32_t before = blocks[1].use;
    const struct secure_td *owner = frames[frame].owner;
    uint64_t page = any_page();
    if (!secure_claim(&map, &td, HPA(page), EPT_LEVEL_4K)) {
        secure_frame(&map, HPA(page))->state = SECURE_FREE;
        secure_release(&map, HPA(page), EPT_LEVEL_4K, SECURE_GUESTS);
        PROVE(!secure_frame(&map, HPA(page))->owner);
        uint64_t status = secure_claim(&map, &other, HPA(page), EPT_LEVEL_4K);
        PROVE(!status);
        secure_release(&map, HPA(page), EPT_LEVEL_4K, SECURE_GUESTS);
    }
    PROVE(blocks[1].use == before && frames[frame].owner == owner);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static uint64_t begun, over; /* the newest epoch of the CPUs, and the newest that was over */
static bool measured, cleared, copied;

/* Stand-ins: whole pages are cleared and copied. */
void *memset(void *to, int byte, size_t size)
{
    PROVE(to == content && !byte && size == PAGE_SIZE);
    cleared = true;
    return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
    PROVE(to == content && from == entry_4k && size == PAGE_SIZE);
    copied = true;
    return to;
}

static void *any_window(void *context, hpa_t page)
{
    (void)context;
    uint64_t frame = (page.v - BASE) >> PAGE_SHIFT;
    return frame == ROOT ? root : frame == TABLE ? table : content;
}

static uint64_t any_epoch_begin(void *context)
{
    (void)context;
    return ++begun;
}

/* An epoch that was over stays so. */
static bool any_epoch_over(void *context, uint64_t epoch)
{
    (void)context;
    PROVE(epoch == begun);
    if (nondet_bool())
        over = begun;
    return over == begun;
}

static void any_measure(void *context, gfn_t gfn, const void *page)
{
    (void)context;
    PROVE(copied && page == content && gfn.v == THE_GFN);
    measured = true;
}

static const struct secure_host host = {any_window, any_epoch_begin, any_epoch_over, any_measure,
                                        NULL};

/* The invariants of tests/unit/ept/secure_world.h, for one entry: an entry in use points to a frame
 * of the TD, and the frame's record names the entry. */
static void assume_sound(uint64_t entry, unsigned level, uint64_t gfn)
{
    if (!(entry & EPT_SOFTWARE_LOW))
        return;
    uint64_t frame = ((entry & EPT_ADDRESS) - BASE) >> PAGE_SHIFT;
    ASSUME((entry & EPT_ADDRESS) >= BASE && frame < FRAMES && frame != ROOT);
    const struct secure_frame *f = &frames[frame];
    uint8_t state = f->state == SECURE_BLOCKED ? f->unblocked : f->state;
    ASSUME(state == SECURE_TABLE || state == SECURE_PENDING || state == SECURE_MAPPED);
    ASSUME(f->owner == &td && f->level == level && f->gfn == gfn);
    ASSUME((state == SECURE_TABLE) == (frame == TABLE) && (level > EPT_LEVEL_4K || frame != TABLE));
    ASSUME(f->epoch <= td.epoch && td.epoch < BIT(62));
    ASSUME(!(entry & EPT_RWX) == (f->state != SECURE_TABLE && f->state != SECURE_MAPPED));
}

/* A TD in any state, as far as the tables on the way to the entry for THE_GFN are concerned. The
 * places of the pool and of the tables are constant. */
static void any_td(void)
{
    any_map();
    *entry_2m = (nondet_u64() & ~EPT_ADDRESS) | (BASE + TABLE * PAGE_SIZE);
    *entry_4k = nondet_u64();
    td = (struct secure_td){.host = &host,
                            .map = &map,
                            .root = HPA(BASE),
                            .root_level = EPT_LEVEL_2M,
                            .gfn_end = EPT_ENTRIES * EPT_ENTRIES,
                            .pending_ve = nondet_bool(),
                            .life = nondet_unsigned() % 3,
                            .epoch = nondet_u64(),
                            .newest = nondet_u64(),
                            .owned = 4};
    begun = td.newest;
    over = begun - nondet_bool(); /* each track waits for the epoch before it */
    ASSUME(begun && begun < BIT(62));
    for (unsigned i = 0; i < FRAMES; i++)
        ASSUME(frames[i].owner || frames[i].state == SECURE_FREE);
    ASSUME(frames[ROOT].owner == &td && frames[TABLE].owner == &td);
    assume_sound(*entry_2m, EPT_LEVEL_2M, THE_GFN & ~(EPT_ENTRIES - 1ull));
    assume_sound(*entry_4k, EPT_LEVEL_4K, THE_GFN);
}

enum call { ADD, AUG, ACCEPT, BLOCK, REMOVE, CALLS };

static uint64_t make_call(enum call call, hpa_t page)
{
    gfn_t gfn = GFN(THE_GFN);
    switch (call) {
    case ADD:
        return secure_page_add(&td, gfn, page, entry_4k); /* any address */
    case AUG:
        return secure_page_aug(&td, gfn, EPT_LEVEL_4K, page);
    case ACCEPT:
        return secure_page_accept(&td, gfn, EPT_LEVEL_4K);
    case BLOCK:
        return secure_range_block(&td, gfn, EPT_LEVEL_4K);
    default:
        return secure_page_remove(&td, gfn, EPT_LEVEL_4K);
    }
}

/* X15: a call that is refused changes no entry, no owner and no state, and measures nothing. Two
 * proofs, because one would take CBMC too long. */
static void refusal_changes_nothing(enum call call)
{
    any_td();
    unsigned frame = nondet_unsigned() % FRAMES;
    uint64_t large = *entry_2m, small = *entry_4k;
    uint32_t count = blocks[1].use;
    struct secure_frame before = frames[frame];
    enum secure_life life = td.life;
    if (!make_call(call, HPA(any_page())))
        return;
    PROVE(*entry_2m == large && *entry_4k == small && blocks[1].use == count);
    PROVE(td.owned == 4 && td.life == life && !td.lock.taken && !measured);
    PROVE(frames[frame].owner == before.owner && frames[frame].state == before.state);
    PROVE(frames[frame].gfn == before.gfn && frames[frame].level == before.level);
}

void prove_a_refusal_changes_nothing(void)
{
    refusal_changes_nothing(nondet_bool() ? ADD : AUG);
}

void prove_a_refused_change_changes_nothing(void)
{
    enum call call = nondet_unsigned() % CALLS;
    ASSUME(call != ADD && call != AUG);
    refusal_changes_nothing(call);
}

/* X12 to X14: what a call that succeeds does to the entry and to the frame behind it. */
void prove_what_a_call_does(void)
{
    any_td();
    uint64_t old = *entry_4k;
    struct secure_frame *was = secure_frame(&map, HPA(old & EPT_ADDRESS));
    bool used = old & EPT_SOFTWARE_LOW;
    uint8_t state = used ? was->state : SECURE_FREE;
    enum call call = nondet_unsigned() % CALLS;
    if (make_call(call, HPA(any_page())))
        return;
    PROVE(td.life != SECURE_STOPPED && !td.lock.taken);
    if (call == REMOVE) {
        PROVE(state == SECURE_BLOCKED && *entry_4k == EPT_SUPPRESS_VE && !was->owner);
        PROVE(was->content == SECURE_GUESTS); /* it is scrubbed before its next use */
        return;
    }
    static const uint8_t from[] = {SECURE_FREE, SECURE_FREE, SECURE_PENDING};
    static const uint8_t to[] = {SECURE_MAPPED, SECURE_PENDING, SECURE_MAPPED, SECURE_BLOCKED};
    const struct secure_frame *now = secure_frame(&map, HPA(*entry_4k & EPT_ADDRESS));
    PROVE(now->owner == &td && now->gfn == THE_GFN && now->level == EPT_LEVEL_4K);
    PROVE(now->state == to[call]);
    PROVE(call == BLOCK ? state == SECURE_PENDING || state == SECURE_MAPPED : state == from[call]);
    PROVE(!(*entry_4k & EPT_RWX) == (now->state != SECURE_MAPPED));
    PROVE(*entry_4k & EPT_SUPPRESS_VE || (td.pending_ve && now->state == SECURE_PENDING));
    PROVE(call != ADD || (measured && td.life == SECURE_BUILDING));
    PROVE(call != AUG || (now->content == SECURE_ZERO && td.life == SECURE_FINALISED));
    PROVE(call != ACCEPT || !cleared);
    if (call == ADD || call == ACCEPT) /* what the CPU reads */
        PROVE(*entry_4k == ((*entry_4k & EPT_ADDRESS) | EPT_RWX | EPT_IPAT | EPT_SOFTWARE_LOW |
                            field_put(MEMTYPE_WB, EPT_MEMTYPE) | EPT_SUPPRESS_VE));
}

/* X13, by induction over the calls: since the page was blocked, the TD's epoch and the CPUs' have
 * advanced equally far. So when it is removed, an epoch that began later was over. */
void prove_removal_is_tracked(void)
{
    any_td();
    const struct secure_frame *frame = secure_frame(&map, HPA(*entry_4k & EPT_ADDRESS));
    uint64_t blocked = nondet_u64(); /* the epoch of the CPUs at that moment */
    enum call call = nondet_unsigned() % CALLS;
    ASSUME(*entry_4k & EPT_SOFTWARE_LOW && blocked <= begun);
    ASSUME(frame->state != SECURE_BLOCKED || td.epoch - frame->epoch == begun - blocked);
    uint64_t status = nondet_bool() ? secure_track(&td) : make_call(call, HPA(any_page()));
    if (frame->owner != &td) {
        PROVE(!status && over > blocked);
        return;
    }
    if (call == BLOCK && !status && frame->epoch == td.epoch)
        blocked = begun;
    PROVE(td.newest == begun && (over == begun || over + 1 == begun));
    PROVE(frame->state != SECURE_BLOCKED || td.epoch - frame->epoch == begun - blocked);
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* X14: a frame that counts as zero was cleared, or counted as zero before; and scrubbing leaves
 * only what no guest has written. */
void prove_clear_clears(void)
{
    any_td();
    unsigned frame = 2 + nondet_unsigned() % 2;
    uint8_t before = frames[frame].content;
    bool scrub = nondet_bool();
    ASSUME(before <= SECURE_GUESTS);
    bool done = secure_clear(&map, HPA(BASE + frame * PAGE_SIZE), EPT_LEVEL_4K, &host, NULL, scrub);
    PROVE(done);
    PROVE(frames[frame].content == SECURE_ZERO || (scrub && frames[frame].content == before));
    PROVE(frames[frame].content != SECURE_GUESTS);
    PROVE(cleared == (before != frames[frame].content));
}

static bool hidden;

bool page_is_hidden(hpa_t page)
{
    PROVE(page.v == 2 * SECURE_BLOCK_SIZE);
    return hidden;
}

void host_tlb_flush(void)
{
}

/* X16: a block that enters the map has left the direct map, and every CPU has flushed since. */
void prove_a_block_enters_flushed(void)
{
    hidden = nondet_bool();
    for (unsigned cpu = 0; cpu < 3; cpu++)
        host_tlb_join(cpu);
    host_tlb_debt = nondet_u64();
    for (unsigned cpu = 0; cpu < 3; cpu++)
        host_tlb_cpus[cpu].paid = nondet_u64();
    if (secure_block_add(&map, HPA(2 * SECURE_BLOCK_SIZE), frames)) {
        PROVE(!blocks[2].frames && !blocks[2].use);
        return;
    }
    PROVE(hidden && blocks[2].use == SECURE_PRESENT);
    for (unsigned cpu = 0; cpu < 3; cpu++)
        PROVE(host_tlb_cpus[cpu].paid >= host_tlb_debt);
}
