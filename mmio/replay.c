/* Accesses that were made before; see the header. Called by the flow and the emulator. Pure. */
#include "mmio/replay.h"

#include "lib/trace.h"
#include "mmio/known.h"

#define ENTRY_ADDRESS BITS(51, 12)

/* Whether the entries of both walks still are what they were. They end at the last place, so that
 * no loop is needed; the order is that in which the walks read them. */
static ALWAYS_INLINE bool entries_unchanged(const struct replay *h)
{
#define CHECK(i)                                                                         \
    if (unlikely(*(const volatile uint64_t *)h->entries[i].host != h->entries[i].value)) \
        return false;
    switch (h->first_entry) {
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

static ALWAYS_INLINE bool bytes_unchanged(const struct replay *h)
{
    typedef uint64_t __attribute__((aligned(1))) unaligned;
    const unaligned *bytes = (const void *)h->code;
    return bytes[0] == h->bytes[0] && bytes[1] == h->bytes[1];
}

/* The generation and the sequence come first: while they are the same, the pages that the rest
 * reads are there. If the operand lies where it did, the walk leads from there to the place. */
static ALWAYS_INLINE bool unchanged(const struct mmio_vcpu *v, const struct replay *h)
{
    return bus_sequence(v->mmio_bus) == h->bus_sequence &&
           mmu_slot_generation(v->mmu) == h->generation &&
           mmu_invalidate_sequence(v->mmu) == h->sequence &&
           move_registers(v->cpu, &h->access.move) == h->registers && entries_unchanged(h) &&
           bytes_unchanged(h);
}

static COLD bool keys_changed(const struct mmio_vcpu *v, const struct replay *h)
{
    return cpu_reg(v->cpu, REG_PKRU) != h->pkru;
}

bool mmio_replay_holds(const struct mmio_vcpu *vcpu, const struct replay *replay)
{
    const struct replay *h = replay;
    if (unlikely(!unchanged(vcpu, h)))
        return false;
    if (unlikely(h->flags & REPLAY_KEYED))
        return !keys_changed(vcpu, h);
    return true;
}

static ALWAYS_INLINE void make_access(struct mmio_vcpu *v, const struct replay *h)
{
    v->stats.emulated++;
    v->stale_count = 0;
    move_make(v, v->cpu, &h->access);
}

void mmio_replay_access(struct mmio_vcpu *vcpu, const struct replay *replay)
{
    vcpu->stats.cache_hits++;
    vcpu->cache.gva_hits++;
    make_access(vcpu, replay);
}

void mmio_replay_first_access(struct mmio_vcpu *vcpu, const struct replay *replay)
{
    make_access(vcpu, replay);
}

/* ---- After a change of the slots ------------------------------------------------------------- */

static bool is_place_of(const struct mmio_vcpu *v, uint64_t gpa, enum mmu_access access,
                        const void *host)
{
    return guest_page(v->mmu, GPA(gpa), access) == (const void *)((uintptr_t)host & PAGE_MASK);
}

/* Whether all that it reads still stands where it did. Or did mmu_forget() make us ask, because
 * accesses are to go the long way from now on? Each entry lies in the table that the one before it
 * names, and the code in the page that its last one does. */
static NOINLINE bool pages_unmoved(const struct mmio_vcpu *v, const struct replay *h)
{
    const struct replay_word *code = &h->entries[h->first_entry], *leaf = code + h->code_count - 1;
    uint64_t in_leaf = BIT(PAGE_SHIFT + 9 * (4 - h->code_count)) - 1, above = h->cr3;

    if (trace_wants(TRACE_MMIO_EVENTS))
        return false;
    for (const struct replay_word *entry = code; entry < h->entries + ARRAY_SIZE(h->entries);
         entry++) {
        if (!is_place_of(v, above & ENTRY_ADDRESS, ACCESS_READ, entry->host))
            return false;
        above = entry->value;
        if (entry == leaf) /* next are those of the data */
            above = h->shared_count ? code[h->shared_count - 1].value : h->cr3;
    }
    uint64_t page = (leaf->value & ENTRY_ADDRESS & ~in_leaf) | (h->rip & in_leaf);
    return is_place_of(v, page, ACCESS_FETCH, h->code);
}

static ALWAYS_INLINE bool follow(struct mmio_vcpu *v, struct replay *h, uint64_t generation)
{
    uint64_t old_generation = h->generation, old_sequence = h->sequence;
    uint64_t sequence = mmu_invalidate_sequence(v->mmu);
    h->generation = generation;
    if (sequence == old_sequence) {
        if (generation != old_generation && mmio_replay_holds(v, h))
            return true;
    } else if (!(sequence & 1) && pages_unmoved(v, h)) {
        h->sequence = sequence;
        if (mmio_replay_holds(v, h))
            return true;
        h->sequence = old_sequence;
    }
    h->generation = old_generation;
    return false;
}

bool mmio_replay_follow(struct mmio_vcpu *vcpu, struct replay *replay, uint64_t generation)
{
    return follow(vcpu, replay, generation);
}

bool mmio_replay_renew(struct mmio_vcpu *vcpu, struct replay *replay)
{
    struct mmio_info info;
    if (!follow(vcpu, replay, mmu_slot_generation(vcpu->mmu)))
        return false;
    if (unlikely(mmu_mmio_check(vcpu->mmu, replay->gpa, &info) != FAULT_EMULATE)) {
        replay->rip = REPLAY_NONE;
        return false;
    }
    mmio_count_check(vcpu, &info);
    mmio_cache_fill(&vcpu->cache, &info);
    return true;
}

/* ---- Keeping one ----------------------------------------------------------------------------- */

#define IN_VAIN 4 /* accesses of others, and the last of them takes the place of the older one */

/* Those that alternate in one pair do not throw each other out each time: that costs more than it
 * saves. Nor does what has not been used for long keep others away. The newest one stands first,
 * where it is found first. */
struct replay *mmio_replay_room(struct mmio_vcpu *vcpu, uint64_t rip, gpa_t gpa, uint64_t cr3)
{
    struct replay *pair = mmio_replay_at(vcpu, rip, gpa, cr3);
    uint8_t *in_vain = &vcpu->replays.in_vain[(pair - vcpu->replays.entry) / 2];
    for (struct replay *h = pair; h < pair + 2; h++)
        if (h->rip == rip && h->gpa.v == gpa.v && h->cr3 == cr3)
            return h;
    if (pair[0].rip == REPLAY_NONE)
        return &pair[0];
    if (pair[1].rip != REPLAY_NONE && ++*in_vain % IN_VAIN)
        return NULL;
    pair[1] = pair[0];
    return &pair[0];
}

/* Entries that both walks read are compared once. */
static void keep_entries(struct replay *h, const struct memo *code, const struct memo *data)
{
    unsigned shared = 0;
    while (shared < code->count && shared < data->count &&
           code->entries[shared].host == data->entries[shared].host)
        shared++;
    unsigned at = (unsigned)ARRAY_SIZE(h->entries) - code->count - (data->count - shared);
    h->first_entry = (uint8_t)at;
    h->code_count = (uint8_t)code->count;
    h->shared_count = (uint8_t)shared;
    for (unsigned i = 0; i < code->count; i++, at++)
        h->entries[at] = (struct replay_word){code->entries[i].host, code->entries[i].value};
    for (unsigned i = shared; i < data->count; i++, at++)
        h->entries[at] = (struct replay_word){data->entries[i].host, data->entries[i].value};
}

/* Four, of which those that the walk did not have always are what they were. */
static void keep_bell(struct replay *h, const struct memo *code, uint64_t next)
{
    static const uint64_t zero;
    for (unsigned i = 0; i < ARRAY_SIZE(h->bell.code); i++) {
        bool used = i < code->count;
        h->bell.code[i] = used ? (struct replay_word){code->entries[i].host, code->entries[i].value}
                               : (struct replay_word){&zero, 0};
    }
    h->bell.next = next;
}

void mmio_replay_keep(struct replay *replay, const struct known *known)
{
    struct replay *h = replay;
    const struct known *k = known;
    const struct walk_context *context = k->context;
    const struct bus_hint *hint = &k->place->hint;
    h->flags = context->key & KEY_PKE ? REPLAY_KEYED : 0;
    if (hint->doorbell && k->decoded->move.length <= sizeof(h->bytes[0])) {
        h->flags |= REPLAY_BELL;
        keep_bell(h, k->code, k->rip + k->decoded->move.length);
    } else {
        keep_entries(h, k->code, k->data);
    }
    h->rip = k->rip;
    h->gpa = k->gpa;
    h->cr3 = context->cr3;
    h->mode = k->mode;
    h->generation = context->generation;
    h->sequence = context->sequence;
    h->bus_sequence = hint->sequence;
    h->code = k->code->host + page_offset(k->rip);
    h->bytes[0] = k->decoded->bytes[0];
    h->bytes[1] = k->decoded->bytes[1];
    h->registers = k->registers;
    h->access = *k->access;
    h->pkru = (uint32_t)context->pkru;
}
