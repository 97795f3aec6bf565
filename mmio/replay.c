/* SPDX-License-Identifier: MIT */
/* Replay entries. Called by the exit handler, the flow and the emulator. Pure. */
#include "mmio/replay.h"

#include "lib/trace.h"
#include "mmio/doorbell.h"
#include "mmio/known.h"

#define ENTRY_ADDRESS BITS(51, 12)

/* Whether the entries of both walks are unchanged, in the order in which the walks read them. The
 * last one has the highest index, so that a switch replaces a loop. */
static ALWAYS_INLINE bool replay_entries_unchanged(const struct replay *r)
{
#define CHECK(i)                                                                         \
    if (unlikely(*(const volatile uint64_t *)r->entries[i].host != r->entries[i].value)) \
        return false;
    switch (r->first_entry) {
    case 0:
        CHECK(0) /* fall through */
    case 1:
        CHECK(1) /* fall through */
    case 2:
        CHECK(2) /* fall through */
    case 3:
        CHECK(3) /* fall through */
    case 4:
        CHECK(4) /* fall through */
    case 5:
        CHECK(5) /* fall through */
    case 6:
        CHECK(6) /* fall through */
    case 7:
        CHECK(7)
        break;
    default:
        __builtin_unreachable();
    }
#undef CHECK
    return true;
}

static ALWAYS_INLINE bool replay_bytes_unchanged(const struct replay *r)
{
    typedef uint64_t __attribute__((aligned(1))) unaligned;
    const unaligned *bytes = (const void *)r->code;
    return bytes[0] == r->bytes[0] && bytes[1] == r->bytes[1];
}

/* The generation and the sequences are compared first: while they are unchanged, the pages that the
 * other comparisons read exist. With unchanged registers the operand has the same linear address,
 * which the compared walk translates to the GPA. */
static ALWAYS_INLINE enum replay_why replay_difference(const struct mmio_vcpu *v,
                                                       const struct replay *r)
{
    return bus_sequence(v->mmio_bus) != r->bus_sequence              ? REPLAY_OTHER_BUS
           : mmu_slot_generation(v->mmu) != r->generation            ? REPLAY_OTHER_GENERATION
           : mmu_invalidate_sequence(v->mmu) != r->sequence          ? REPLAY_OTHER_SEQUENCE
           : move_registers(v->cpu, &r->access.move) != r->registers ? REPLAY_OTHER_REGISTERS
           : !replay_entries_unchanged(r)                            ? REPLAY_OTHER_ENTRY
           : !replay_bytes_unchanged(r)                              ? REPLAY_OTHER_BYTES
                                                                     : REPLAY_SERVES;
}

static COLD bool replay_pkru_changed(const struct mmio_vcpu *v, const struct replay *r)
{
    return cpu_reg(v->cpu, REG_PKRU) != r->pkru;
}

bool mmio_replay_holds(const struct mmio_vcpu *vcpu, const struct replay *replay)
{
    const struct replay *r = replay;
    if (unlikely(replay_difference(vcpu, r) != REPLAY_SERVES))
        return false;
    if (unlikely(r->flags & REPLAY_KEYED))
        return !replay_pkru_changed(vcpu, r);
    return true;
}

enum replay_why mmio_replay_why(const struct mmio_vcpu *vcpu, const struct replay *replay,
                                uint64_t rip, gpa_t gpa, uint64_t cr3, uint64_t mode)
{
    enum replay_why why = mmio_replay_is_not(replay, rip, gpa, cr3, mode);
    if (why != REPLAY_SERVES)
        return why;
    if (replay->flags & REPLAY_BELL)
        return mmio_bell_why(vcpu, replay);
    why = replay_difference(vcpu, replay);
    if (why == REPLAY_SERVES && replay->flags & REPLAY_KEYED && replay_pkru_changed(vcpu, replay))
        return REPLAY_OTHER_PKRU;
    return why;
}

static ALWAYS_INLINE void replay_make_access(struct mmio_vcpu *v, const struct replay *r)
{
    v->stats.emulated++;
    v->stale_count = 0;
    move_make(v, v->cpu, &r->access);
}

void mmio_replay_access(struct mmio_vcpu *vcpu, const struct replay *replay)
{
    vcpu->stats.cache_hits++;
    vcpu->cache.gva_hits++;
    replay_make_access(vcpu, replay);
}

void mmio_replay_first_access(struct mmio_vcpu *vcpu, const struct replay *replay)
{
    replay_make_access(vcpu, replay);
}

/* ---- After a change of the slots ------------------------------------------------------------- */

static bool replay_page_is_at(const struct mmio_vcpu *v, uint64_t gpa, enum mmu_access access,
                              const void *host)
{
    return guest_page(v->mmu, GPA(gpa), access) == (const void *)((uintptr_t)host & PAGE_MASK);
}

/* Whether all pages that the entry reads are where they were: each entry of a walk lies in the
 * table that the entry before it names, and the code in the page that the last entry of its walk
 * names. False while MMIO events are traced, since accesses then have to take the slow path;
 * mmu_forget() changed the sequence for this. */
static NOINLINE bool replay_pages_unmoved(const struct mmio_vcpu *v, const struct replay *r)
{
    const struct replay_value *code = &r->entries[r->first_entry], *leaf = code + r->code_count - 1;
    uint64_t in_leaf = BIT(PAGE_SHIFT + 9 * (4 - r->code_count)) - 1, above = r->cr3;

    if (trace_wants(TRACE_MMIO_EVENTS))
        return false;
    for (const struct replay_value *entry = code; entry < r->entries + ARRAY_SIZE(r->entries);
         entry++) {
        if (!replay_page_is_at(v, above & ENTRY_ADDRESS, ACCESS_READ, entry->host))
            return false;
        above = entry->value;
        if (entry == leaf) /* next are the entries of the data's walk */
            above = r->shared_count ? code[r->shared_count - 1].value : r->cr3;
    }
    uint64_t page = (leaf->value & ENTRY_ADDRESS & ~in_leaf) | (r->rip & in_leaf);
    return replay_page_is_at(v, page, ACCESS_FETCH, r->code);
}

static ALWAYS_INLINE bool replay_follow(struct mmio_vcpu *v, struct replay *r, uint64_t generation)
{
    uint64_t old_generation = r->generation, old_sequence = r->sequence;
    uint64_t sequence = mmu_invalidate_sequence(v->mmu);
    r->generation = generation;
    if (sequence == old_sequence) {
        if (generation != old_generation && mmio_replay_holds(v, r))
            return true;
    } else if (!(sequence & 1) && replay_pages_unmoved(v, r)) {
        r->sequence = sequence;
        if (mmio_replay_holds(v, r))
            return true;
        r->sequence = old_sequence;
    }
    r->generation = old_generation;
    return false;
}

bool mmio_replay_follow(struct mmio_vcpu *vcpu, struct replay *replay, uint64_t generation)
{
    return replay_follow(vcpu, replay, generation);
}

bool mmio_replay_renew(struct mmio_vcpu *vcpu, struct replay *replay)
{
    struct mmio_info info;
    if (!replay_follow(vcpu, replay, mmu_slot_generation(vcpu->mmu)))
        return false;
    if (unlikely(mmu_mmio_check(vcpu->mmu, replay->gpa, &info) != FAULT_EMULATE)) {
        replay->rip = REPLAY_NONE;
        return false;
    }
    mmio_count_check(vcpu, &info);
    mmio_cache_fill(&vcpu->cache, &info);
    return true;
}

/* ---- Making an entry ------------------------------------------------------------------------- */

#define REPLACE_AFTER 4 /* misses in a pair, after which an access replaces the older entry */

/* Accesses that alternate in one pair must not replace each other each time, which would cost more
 * than it saves; and an entry that is no longer used must not stay for ever. The newest entry is
 * the first of the pair, where it is found first. */
struct replay *mmio_replay_room(struct mmio_vcpu *vcpu, uint64_t rip, gpa_t gpa, uint64_t cr3,
                                uint64_t mode)
{
    struct replay *pair = mmio_replay_at(vcpu, rip, gpa, cr3);
    uint8_t *misses = &vcpu->replays.misses[(pair - vcpu->replays.entry) / 2];
    for (struct replay *r = pair; r < pair + 2; r++)
        if (r->rip == rip && r->gpa.v == gpa.v && r->cr3 == cr3) {
            vcpu->cache.miss.replay = (uint8_t)mmio_replay_why(vcpu, r, rip, gpa, cr3, mode);
            return r;
        }
    if (pair[0].rip == REPLAY_NONE)
        return &pair[0];
    if (pair[1].rip != REPLAY_NONE && ++*misses % REPLACE_AFTER)
        return NULL;
    pair[1] = pair[0];
    return &pair[0];
}

/* Stores the entries of both walks; common ones are stored, and compared, only once. */
static void replay_keep_entries(struct replay *r, const struct cached_walk *code,
                                const struct cached_walk *data)
{
    unsigned shared = 0;
    while (shared < code->count && shared < data->count &&
           code->entries[shared].host == data->entries[shared].host)
        shared++;
    unsigned at = (unsigned)ARRAY_SIZE(r->entries) - code->count - (data->count - shared);
    r->first_entry = (uint8_t)at;
    r->code_count = (uint8_t)code->count;
    r->shared_count = (uint8_t)shared;
    for (unsigned i = 0; i < code->count; i++, at++)
        r->entries[at] = (struct replay_value){code->entries[i].host, code->entries[i].value};
    for (unsigned i = shared; i < data->count; i++, at++)
        r->entries[at] = (struct replay_value){data->entries[i].host, data->entries[i].value};
}

/* Stores four entries; those beyond the walk always compare equal. */
static void replay_keep_bell(struct replay *r, const struct cached_walk *code, uint64_t next)
{
    static const uint64_t zero;
    for (unsigned i = 0; i < ARRAY_SIZE(r->bell.code); i++) {
        bool used = i < code->count;
        r->bell.code[i] = used
                              ? (struct replay_value){code->entries[i].host, code->entries[i].value}
                              : (struct replay_value){&zero, 0};
    }
    r->bell.next = next;
}

void mmio_replay_keep(struct replay *replay, const struct known *known)
{
    struct replay *r = replay;
    const struct known *k = known;
    const struct walk_context *context = k->context;
    const struct bus_hint *hint = &k->range->hint;
    r->flags = context->key & KEY_PKE ? REPLAY_KEYED : 0;
    if (hint->doorbell && k->decoded->move.length <= sizeof(r->bytes[0])) {
        r->flags |= REPLAY_BELL;
        replay_keep_bell(r, k->code, k->rip + k->decoded->move.length);
    } else {
        replay_keep_entries(r, k->code, k->data);
    }
    r->rip = k->rip;
    r->gpa = k->gpa;
    r->cr3 = context->cr3;
    r->mode = k->mode;
    r->generation = context->generation;
    r->sequence = context->sequence;
    r->bus_sequence = hint->sequence;
    r->code = k->code->host + page_offset(k->rip);
    r->bytes[0] = k->decoded->bytes[0];
    r->bytes[1] = k->decoded->bytes[1];
    r->registers = k->registers;
    r->access = *k->access;
    r->pkru = (uint32_t)context->pkru;
}
