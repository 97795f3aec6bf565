/* Accesses that were made before; see the header. Called by the flow and the emulator. Pure. */
#include "mmio/hot.h"

#include "lib/string.h"
#include "lib/trace.h"
#include "mmio/emulate.h"
#include "mmio/execute.h"
#include "mmio/fetch.h"

#define CS_TYPE          0xcu /* of the type field: code, and conforming */
#define CS_NONCONFORMING 0x8u
#define RFLAGS_TF        BIT(8)
#define ENTRY_W          BIT(1)
#define ENTRY_ADDRESS    BITS(51, 12)

/* In hot.first_entry. */
#define FIRST_ENTRY    BITS(2, 0)
#define SHARED_ENTRIES BITS(5, 3) /* of the walk for the data: how many are the code's, too */

/* Whether the entries of both walks still are what they were. They end at the last place, so that
 * no loop is needed; the order is that in which the walks read them. */
static ALWAYS_INLINE bool entries_unchanged(const struct hot *h)
{
#define CHECK(i)                                                                         \
    if (unlikely(*(const volatile uint64_t *)h->entries[i].host != h->entries[i].value)) \
        return false;
    switch (field_get(h->first_entry, FIRST_ENTRY)) {
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

/* Does the operand still lie where it did? As the walk leads from there to the place, it is what the
 * exit was for. */
static ALWAYS_INLINE bool operand_unmoved(const struct cpu_regs *cpu, const struct hot *h)
{
    uint64_t sum = cpu->gpr[h->base];
    if (unlikely(h->index != INSN_NO_REG))
        sum += cpu->gpr[field_get(h->index, HOT_INDEX)] << field_get(h->index, HOT_SHIFT);
    return sum == h->registers;
}

/* The generation and the sequence come first: while they are the same, the pages that the rest
 * reads are there. */
static ALWAYS_INLINE bool unchanged(const struct mmio_vcpu *v, const struct hot *h)
{
    return bus_sequence(v->mmio_bus) == h->bus_sequence &&
           mmu_slot_generation(v->mmu) == h->generation &&
           mmu_invalidate_sequence(v->mmu) == h->sequence && operand_unmoved(v->cpu, h) &&
           entries_unchanged(h) && bytes_unchanged(h);
}

static COLD bool keys_changed(const struct mmio_vcpu *v, const struct hot *h)
{
    return cpu_reg(v->cpu, REG_PKRU) != h->pkru;
}

bool mmio_hot_holds(const struct mmio_vcpu *vcpu, const struct hot *hot)
{
    const struct hot *h = hot;
    if (unlikely(!unchanged(vcpu, h)))
        return false;
    if (unlikely(h->flags & HOT_KEYED))
        return !keys_changed(vcpu, h);
    return true;
}

static const uint64_t masks[] = {[1] = 0xff, [2] = 0xffff, [4] = 0xffffffff, [8] = ~0ull};

static NOINLINE void load(struct mmio_vcpu *v, const struct hot *h)
{
    uint64_t value = h->read(h->device, v, h->offset, h->size) & masks[h->size];
    if (likely(h->flags & HOT_WHOLE))
        v->cpu->gpr[h->reg] = value;
    else
        mmio_fill_register(v->cpu, h->reg, h->reg_size, h->flags & HOT_SIGNED ? h->size : 0, value);
}

static ALWAYS_INLINE void make_access(struct mmio_vcpu *v, const struct hot *h)
{
    v->stats.emulated++;
    v->stale_count = 0;
    if (!(h->flags & HOT_WRITE)) {
        load(v, h);
        return;
    }
    uint64_t value = h->flags & HOT_IMM ? (uint64_t)h->imm : v->cpu->gpr[h->reg];
    h->write(h->device, v, h->offset, h->size, value & masks[h->size]);
}

void mmio_hot_access(struct mmio_vcpu *vcpu, const struct hot *hot)
{
    vcpu->stats.cache_hits++;
    vcpu->cache.gva_hits++;
    make_access(vcpu, hot);
}

void mmio_hot_first_access(struct mmio_vcpu *vcpu, const struct hot *hot)
{
    make_access(vcpu, hot);
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
static NOINLINE bool pages_unmoved(const struct mmio_vcpu *v, const struct hot *h)
{
    const struct hot_entry *code = &h->entries[field_get(h->first_entry, FIRST_ENTRY)];
    const struct hot_entry *leaf = code + field_get(h->flags, HOT_CODE_COUNT);
    uint64_t shared = field_get(h->first_entry, SHARED_ENTRIES);
    uint64_t in_leaf = BIT(PAGE_SHIFT + 9 * (3 - (leaf - code))) - 1, above = h->cr3;

    if (trace_wants(TRACE_MMIO_EVENTS))
        return false;
    for (const struct hot_entry *entry = code; entry < h->entries + ARRAY_SIZE(h->entries); entry++) {
        if (!is_place_of(v, above & ENTRY_ADDRESS, ACCESS_READ, entry->host))
            return false;
        above = entry->value;
        if (entry == leaf) /* next are those of the data */
            above = shared ? code[shared - 1].value : h->cr3;
    }
    uint64_t page = (leaf->value & ENTRY_ADDRESS & ~in_leaf) | (h->rip & in_leaf);
    return is_place_of(v, page, ACCESS_FETCH, h->code);
}

static ALWAYS_INLINE bool follow(struct mmio_vcpu *v, struct hot *h, uint64_t generation)
{
    uint64_t old_generation = h->generation, old_sequence = h->sequence;
    uint64_t sequence = mmu_invalidate_sequence(v->mmu);
    h->generation = generation;
    if (sequence == old_sequence) {
        if (generation != old_generation && mmio_hot_holds(v, h))
            return true;
    } else if (!(sequence & 1) && pages_unmoved(v, h)) {
        h->sequence = sequence;
        if (mmio_hot_holds(v, h))
            return true;
        h->sequence = old_sequence;
    }
    h->generation = old_generation;
    return false;
}

bool mmio_hot_follow(struct mmio_vcpu *vcpu, struct hot *hot, uint64_t generation)
{
    return follow(vcpu, hot, generation);
}

bool mmio_hot_renew(struct mmio_vcpu *vcpu, struct hot *hot)
{
    struct mmio_info info;
    if (!follow(vcpu, hot, mmu_slot_generation(vcpu->mmu)))
        return false;
    if (unlikely(mmu_mmio_check(vcpu->mmu, hot->gpa, &info) != FAULT_EMULATE)) {
        hot->rip = HOT_NONE;
        return false;
    }
    mmio_count_check(vcpu, &info);
    mmio_cache_fill(&vcpu->cache, &info);
    return true;
}

/* ---- Keeping one ----------------------------------------------------------------------------- */

#define VAIN 4 /* so many accesses that are not kept push out one that is */

/* Whether it may stand here now. What was made an access by and comes again, perhaps at the very next
 * exit, does not give way to what comes once: of two that alternate, one stays, and none of them
 * pays for being kept and thrown away. */
static bool may_take(struct mmio_cache *cache, const struct hot *h, uint32_t mixed, uint64_t rip,
                     gpa_t gpa, uint64_t cr3)
{
    struct hot_wish *wish = &cache->wishes[h - cache->hot];
    bool own = h->rip == rip && h->gpa.v == gpa.v && h->cr3 == cr3;
    if (own || h->rip == HOT_NONE || (h->mode ^ cache->cpu->regime) / REGIME_STEP)
        return true;
    if (wish->mixed != mixed)
        *wish = (struct hot_wish){.mixed = mixed};
    return ++wish->count == VAIN;
}

static bool is_common(const struct walk_context *context, const struct insn *insn)
{
    return mmio_code_size(context) == CODE_64 &&
           (context->cs_rights & CS_TYPE) == CS_NONCONFORMING && insn->segment < SEG_FS &&
           insn->address_mask == ~0ull && !insn->high_byte && insn->base != GPR_RSP &&
           insn->reg != GPR_RSP;
}

/* CR0.WP changes without an exit. It counts for writes of supervisors: if they were allowed with WP
 * set, they are without, too; and the other way round unless a page or a key forbids them. */
static bool depends_on_wp(const struct walk_context *context, const struct memo *data)
{
    uint64_t all = ENTRY_W;
    if (!(data->key & KEY_WRITE) || data->key & (KEY_USER | KEY_WP))
        return false;
    for (unsigned i = 0; i < data->count; i++)
        all &= data->entries[i].value;
    return !all || context->key & KEY_PKE;
}

/* Entries that both walks read are compared once. */
static void keep_entries(struct hot *h, const struct memo *code, const struct memo *data)
{
    unsigned shared = 0;
    while (shared < code->count && shared < data->count &&
           code->entries[shared].host == data->entries[shared].host)
        shared++;
    unsigned rest = data->count - shared;
    unsigned at = (unsigned)ARRAY_SIZE(h->entries) - code->count - rest;
    h->first_entry =
        (uint8_t)(field_put(at, FIRST_ENTRY) | field_put(shared, SHARED_ENTRIES));
    for (unsigned i = 0; i < code->count; i++, at++)
        h->entries[at] = (struct hot_entry){code->entries[i].host, code->entries[i].value};
    for (unsigned i = shared; i < data->count; i++, at++)
        h->entries[at] = (struct hot_entry){data->entries[i].host, data->entries[i].value};
}

static void keep_bell(struct hot *h, const struct memo *code, uint64_t next)
{
    for (unsigned i = 0; i < ARRAY_SIZE(h->bell.code); i++) {
        const void *host = i < code->count ? code->entries[i].host : &h->bell.code[i].value;
        h->bell.code[i] = (struct hot_entry){host, code->entries[i].value};
    }
    h->bell.next = next;
}

/* How the instruction makes its access. */
static void keep_insn(struct hot *h, const struct insn *insn, uint64_t rip, uint64_t linear)
{
    bool relative = insn->base == INSN_RIP;
    h->length = insn->length;
    h->size = insn->size;
    h->reg_size = insn->reg_size;
    h->reg = insn->reg;
    h->imm = (int32_t)insn->imm;
    h->base = relative ? INSN_NO_REG : insn->base;
    h->index = (uint8_t)(insn->index | field_put(insn->shift, HOT_SHIFT));
    h->registers = linear - insn->disp - (relative ? rip + insn->length : 0);
    h->flags = (uint8_t)((insn->write ? HOT_WRITE : 0) | (insn->has_imm ? HOT_IMM : 0));
    if (insn->op == INSN_SIGN_EXTEND)
        h->flags |= HOT_SIGNED;
    else if (insn->reg_size >= 4)
        h->flags |= HOT_WHOLE;
}

void mmio_hot_keep(struct mmio_vcpu *vcpu, const struct walk_context *context, uint64_t rip,
                   const struct insn *insn, uint64_t linear, gpa_t gpa)
{
    struct mmio_cache *cache = &vcpu->cache;
    uint32_t mixed = mmio_hot_mix(rip, gpa, context->cr3);
    struct hot *h = &cache->hot[mixed >> (32 - MMIO_HOT_BITS)];
    if (!may_take(cache, h, mixed, rip, gpa, context->cr3))
        return;
    h->rip = HOT_NONE;
    if (trace_wants(TRACE_MMIO_EVENTS)) /* this way is too short to have any */
        return;

    const struct decoded *decoded = &cache->decoded[rip % MMIO_DECODED];
    const struct memo *code = mmio_cache_memo(cache, context, GVA(rip), KEY_FETCH);
    const struct memo *data =
        mmio_cache_memo(cache, context, GVA(linear), insn->write ? KEY_WRITE : 0);
    if (!is_common(context, insn) || insn != &decoded->insn || insn->code == DECODED_EMPTY ||
        !code || !code->host || !data || depends_on_wp(context, data) ||
        context->rflags & RFLAGS_TF)
        return;
    struct bus_hint hint;
    bus_hint_fill(vcpu->mmio_bus, &hint, gpa.v, insn->size, insn->write);
    uint64_t offset = gpa.v - hint.region.start;
    bool is_mmio = hint.doorbell || mmio_cache_hit(cache, gpa, context->generation);
    if (!hint.sequence || !is_mmio || offset >> 32)
        return;
    keep_insn(h, insn, rip, linear);
    if (hint.doorbell && insn->length <= sizeof(h->bytes[0])) {
        h->flags |= HOT_BELL;
        keep_bell(h, code, rip + insn->length);
    } else {
        keep_entries(h, code, data);
    }
    h->flags |= (uint8_t)field_put(code->count - 1, HOT_CODE_COUNT);
    if (context->key & KEY_PKE)
        h->flags |= HOT_KEYED;
    h->pkru = (uint32_t)context->pkru;
    h->mode = cpu_mode(vcpu->cpu, context->rflags, context->cs_rights);
    h->gpa = gpa;
    h->cr3 = context->cr3;
    h->generation = context->generation;
    h->sequence = context->sequence;
    h->bus_sequence = hint.sequence;
    h->device = hint.region.device;
    h->offset = (uint32_t)offset;
    if (insn->write)
        h->write = hint.region.ops->write;
    else
        h->read = hint.region.ops->read;
    h->code = code->host + page_offset(rip);
    memcpy(h->bytes, decoded->bytes, sizeof(h->bytes));
    h->rip = rip;
}
