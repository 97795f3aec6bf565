/* The repeated access; see the header. Called by the flow and the emulator. Pure. */
#include "mmio/hot.h"

#include "lib/string.h"
#include "lib/trace.h"
#include "mmio/emulate.h"
#include "mmio/fetch.h"

#define CS_TYPE          0xcu /* of the type field: code, and conforming */
#define CS_NONCONFORMING 0x8u

/* Whether the entries of both walks still are what they were. They end at the last place, so that
 * no loop is needed; the order is that in which the walks read them. */
static ALWAYS_INLINE bool entries_unchanged(const struct hot *h)
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

static ALWAYS_INLINE bool bytes_unchanged(const struct hot *h)
{
    typedef uint64_t __attribute__((aligned(1))) unaligned;
    const unaligned *bytes = (const void *)h->code;
    return bytes[0] == h->bytes[0] && bytes[1] == h->bytes[1];
}

/* The generation and the sequence come first: while they are the same, the pages that the rest
 * reads are there. */
static ALWAYS_INLINE bool unchanged(const struct mmio_vcpu *v, const struct hot *h)
{
    return bus_sequence(v->mmio_bus) == h->bus_sequence &&
           mmu_slot_generation(v->mmu) == h->generation &&
           mmu_invalidate_sequence(v->mmu) == h->sequence && entries_unchanged(h) &&
           bytes_unchanged(h);
}

/* The linear address of the operand, as an offset from the first one that the device is known for;
 * above `span` for any other address. */
static ALWAYS_INLINE uint64_t operand_offset(const struct cpu_regs *cpu, const struct hot *h)
{
    uint64_t offset = h->disp + cpu->gpr[h->base];
    if (unlikely(h->index != INSN_NO_REG))
        offset += cpu->gpr[h->index] << h->insn.shift;
    return offset;
}

static COLD bool keys_changed(const struct mmio_vcpu *v, const struct hot *h)
{
    return cpu_reg(v->cpu, REG_PKRU) != h->pkru;
}

bool mmio_hot_holds(const struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa)
{
    const struct hot *h = hot;
    uint64_t offset = operand_offset(vcpu->cpu, h);
    if (unlikely(offset > h->span || gpa.v - h->first != offset || !unchanged(vcpu, h)))
        return false;
    if (unlikely(h->keyed))
        return !keys_changed(vcpu, h);
    return true;
}

static NOINLINE void load(struct mmio_vcpu *v, const struct hot *h, uint64_t at)
{
    const struct bus_region *r = &h->region;
    uint64_t value = r->ops->read(r->device, v, at, h->insn.size) & h->mask;
    if (likely(h->whole))
        v->cpu->gpr[h->insn.reg] = value;
    else
        mmio_write_back(v->cpu, &h->insn, value);
}

static ALWAYS_INLINE void make_access(struct mmio_vcpu *v, const struct hot *h, gpa_t gpa)
{
    const struct bus_region *r = &h->region;
    uint64_t at = gpa.v - r->start;

    v->stats.emulated++;
    v->stale_count = 0;
    if (!h->insn.write) {
        load(v, h, at);
        return;
    }
    uint64_t value = h->insn.has_imm ? h->insn.imm : v->cpu->gpr[h->insn.reg];
    h->write(r->device, v, at, h->insn.size, value & h->mask);
}

void mmio_hot_access(struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa)
{
    vcpu->stats.cache_hits++;
    vcpu->cache.gva_hits++;
    make_access(vcpu, hot, gpa);
}

void mmio_hot_first_access(struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa)
{
    make_access(vcpu, hot, gpa);
}

static bool is_place_of(const struct mmio_vcpu *v, gpa_t gpa, enum mmu_access access,
                        const void *host)
{
    return guest_page(v->mmu, gpa, access) == (const void *)((uintptr_t)host & PAGE_MASK);
}

/* Whether all that it reads still stands where it did. Or did mmu_forget() make us ask, because
 * accesses are to go the long way from now on? */
static NOINLINE bool pages_unmoved(const struct mmio_vcpu *v, const struct hot *h)
{
    if (trace_wants(TRACE_MMIO_EVENTS))
        return false;
    for (unsigned i = h->first_entry; i < ARRAY_SIZE(h->entries); i++)
        if (!is_place_of(v, h->entries[i].gpa, ACCESS_READ, h->entries[i].host))
            return false;
    return is_place_of(v, h->code_page, ACCESS_FETCH, h->code);
}

static ALWAYS_INLINE bool follow(struct mmio_vcpu *v, struct hot *h, gpa_t gpa, uint64_t generation)
{
    uint64_t old_generation = h->generation, old_sequence = h->sequence;
    uint64_t sequence = mmu_invalidate_sequence(v->mmu);
    h->generation = generation;
    if (sequence == old_sequence) {
        if (generation != old_generation && mmio_hot_holds(v, h, gpa))
            return true;
    } else if (!(sequence & 1) && pages_unmoved(v, h)) {
        h->sequence = sequence;
        if (mmio_hot_holds(v, h, gpa))
            return true;
        h->sequence = old_sequence;
    }
    h->generation = old_generation;
    return false;
}

static struct hot *own(struct mmio_vcpu *v, const struct hot *hot)
{
    return &v->cache.hot[hot - v->cache.hot];
}

bool mmio_hot_follow(struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa, uint64_t generation)
{
    return follow(vcpu, own(vcpu, hot), gpa, generation);
}

bool mmio_hot_renew(struct mmio_vcpu *vcpu, const struct hot *hot, gpa_t gpa)
{
    struct hot *h = own(vcpu, hot);
    struct mmio_info info;
    if (!follow(vcpu, h, gpa, mmu_slot_generation(vcpu->mmu)))
        return false;
    if (unlikely(mmu_mmio_check(vcpu->mmu, gpa, &info) != FAULT_EMULATE)) {
        mmio_hot_forget(h);
        return false;
    }
    mmio_count_check(vcpu, &info);
    mmio_cache_fill(&vcpu->cache, &info);
    return true;
}

/* ---- Keeping one ----------------------------------------------------------------------------- */

static bool is_common(const struct walk_context *context, const struct insn *insn)
{
    return mmio_code_size(context) == CODE_64 &&
           (context->cs_rights & CS_TYPE) == CS_NONCONFORMING && insn->segment < SEG_FS &&
           insn->address_mask == ~0ull && !insn->high_byte && insn->base != GPR_RSP &&
           insn->reg != GPR_RSP;
}

/* Entries that both walks read are compared once. */
static void keep_entries(struct hot *h, const struct memo *code, const struct memo *data)
{
    unsigned shared = 0;
    while (shared < code->count && shared < data->count &&
           code->entries[shared].host == data->entries[shared].host)
        shared++;
    unsigned rest = data->count - shared;
    h->first_entry = (uint8_t)(ARRAY_SIZE(h->entries) - code->count - rest);
    memcpy(&h->entries[h->first_entry], code->entries, code->count * sizeof(h->entries[0]));
    memcpy(&h->entries[ARRAY_SIZE(h->entries) - rest], &data->entries[shared],
           rest * sizeof(h->entries[0]));
}

/* Four, of which those that the walk did not have always are what they were. */
static void keep_code(struct hot *h, const struct memo *code)
{
    for (unsigned i = 0; i < BELL_ENTRIES; i++) {
        bool used = i < code->count;
        h->entries[i] = used ? code->entries[i] : (struct walk_entry){.host = &h->entries[i].value};
    }
}

void mmio_hot_keep(struct mmio_vcpu *vcpu, const struct walk_context *context, uint64_t rip,
                   const struct insn *insn, uint64_t linear, gpa_t gpa)
{
    struct mmio_cache *cache = &vcpu->cache;
    struct hot *h = &cache->hot[rip % MMIO_HOT];
    const struct decoded *decoded = &cache->decoded[rip % MMIO_DECODED];
    const struct memo *code = mmio_cache_memo(cache, context, GVA(rip), KEY_FETCH);
    const struct memo *data =
        mmio_cache_memo(cache, context, GVA(linear), insn->write ? KEY_WRITE : 0);

    mmio_hot_forget(h);
    if (trace_wants(TRACE_MMIO_EVENTS) || vcpu->breakpoints.on) /* this way is too short for any */
        return;
    if (!is_common(context, insn) || insn != &decoded->insn || insn->code == DECODED_EMPTY ||
        !code || !code->host || !data)
        return;
    struct bus_hint hint;
    bus_hint_fill(vcpu->mmio_bus, &hint, gpa.v, insn->size, insn->write);
    cpu_state_get(vcpu->cpu, &h->state);
    bool is_mmio = hint.doorbell || mmio_cache_hit(cache, gpa, context->generation);
    if (!hint.sequence || !is_mmio || h->state.rflags & ~KEY_AC)
        return;
    if (hint.doorbell && insn->length <= sizeof(h->bytes[0]))
        h->bell = rip;
    else
        h->rip = rip;
    h->next = rip + insn->length;
    h->generation = context->generation;
    h->sequence = context->sequence;
    h->bus_sequence = hint.sequence;
    h->region = hint.region;
    h->write = hint.region.ops->write;
    h->whole = insn->op != INSN_SIGN_EXTEND && insn->reg_size >= 4;
    h->keyed = context->key & KEY_PKE;
    h->pkru = context->pkru;
    if (h->bell == rip)
        keep_code(h, code);
    else
        keep_entries(h, code, data);
    h->code = code->host + page_offset(rip);
    h->code_page = GPA(code->frame);
    memcpy(h->bytes, decoded->bytes, sizeof(h->bytes));
    h->insn = *insn;
    h->mask = ~0ull >> (64 - 8 * insn->size);

    /* Where this page and this place of the bus meet. */
    uint64_t frame = gpa.v & PAGE_MASK, last = frame + PAGE_SIZE - insn->size;
    h->first = frame > hint.first ? frame : hint.first;
    if (last > hint.first + hint.span)
        last = hint.first + hint.span;
    h->span = last - h->first;
    bool relative = insn->base == INSN_RIP;
    h->base = relative ? INSN_NO_REG : insn->base;
    h->index = insn->index;
    h->disp = insn->disp + (relative ? h->next : 0) - (linear - (gpa.v - h->first));
}
