/* The repeated access; see the header. Called by the flow and the emulator. Pure. */
#include "mmio/hot.h"

#include "lib/string.h"
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
    default:
        CHECK(7)
    }
#undef CHECK
    return true;
}

static ALWAYS_INLINE bool bytes_unchanged(const struct hot *h)
{
    uint64_t bytes[2];
    __builtin_memcpy(bytes, h->code, sizeof(bytes));
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

bool mmio_hot(struct mmio_vcpu *vcpu, gpa_t gpa)
{
    struct mmio_vcpu *v = vcpu;
    struct cpu_regs *cpu = v->cpu;
    uint64_t rip = cpu_rip(cpu);
    const struct hot *h = &v->cache.hot[rip % MMIO_HOT];
    IN_REGISTER(h);
    if (unlikely(h->rip != rip || !cpu_state_is(cpu, &h->state)))
        return false;
    if (unlikely(h->keyed && cpu_reg(cpu, REG_PKRU) != h->pkru))
        return false;
    uint64_t offset = operand_offset(cpu, h);
    if (unlikely(offset > h->span || gpa.v - h->first != offset || !unchanged(v, h)))
        return false;

    const struct bus_region *r = &h->region;
    if (h->insn.write) {
        uint64_t value = h->insn.has_imm ? h->insn.imm : cpu->gpr[h->insn.reg];
        r->ops->write(r->device, v, gpa.v - r->start, h->insn.size, value & h->mask);
    } else {
        uint64_t value = r->ops->read(r->device, v, gpa.v - r->start, h->insn.size);
        mmio_write_back(cpu, &h->insn, value & h->mask);
    }
    cpu_set_rip(cpu, h->next);
    v->single_step = false;
    v->stale_count = 0;
    v->stats.cache_hits++;
    v->stats.emulated++;
    v->cache.gva_hits++;
    return true;
}

/* ---- Keeping one ----------------------------------------------------------------------------- */

static bool is_common(const struct walk_context *context, const struct insn *insn)
{
    return mmio_code_size(context) == CODE_64 &&
           (context->cs_rights & CS_TYPE) == CS_NONCONFORMING && insn->segment < SEG_FS &&
           insn->address_mask == ~0ull && !insn->high_byte && insn->base != GPR_RSP &&
           insn->index != GPR_RSP && insn->reg != GPR_RSP;
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
    if (!is_common(context, insn) || insn != &decoded->insn || insn->code == DECODED_EMPTY ||
        !code || !code->host || !data || !mmio_cache_hit(cache, gpa, context->generation))
        return;
    struct bus_hint hint;
    bus_hint_fill(vcpu->mmio_bus, &hint, gpa.v, insn->size);
    cpu_state_get(vcpu->cpu, &h->state);
    if (!hint.sequence || h->state.rflags & ~KEY_AC)
        return;
    h->rip = rip;
    h->next = rip + insn->length;
    h->generation = context->generation;
    h->sequence = context->sequence;
    h->bus_sequence = hint.sequence;
    h->region = hint.region;
    h->keyed = context->key & KEY_PKE;
    h->pkru = context->pkru;
    keep_entries(h, code, data);
    h->code = code->host + page_offset(rip);
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
