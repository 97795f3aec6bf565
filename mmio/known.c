/* Moves that are known by their parts; see the header. Called by the emulator. Pure. */
#include "mmio/known.h"

#include "arch/x86/reg_bits.h"
#include "lib/trace.h"
#include "mmio/fetch.h"
#include "mmio/replay.h"

#define CS_TYPE          0xcu /* of the type field: code, and conforming */
#define CS_NONCONFORMING 0x8u

void mmio_known_mode(struct mmio_vcpu *vcpu, const struct walk_context *context)
{
    struct mmio_cache *cache = &vcpu->cache;
    if (mmio_code_size(context) != CODE_64 || (context->cs_rights & CS_TYPE) != CS_NONCONFORMING ||
        context->rflags & RFLAGS_TF)
        return;
    cache->last_mode = cpu_mode(vcpu->cpu, context->rflags, context->cs_rights);
    cache->last_key = context->key;
}

/* Where the access leads to on the bus. False: nowhere, or to more than one device. */
static bool find_place(struct mmio_vcpu *v, struct known *k)
{
    bool write = k->decoded->move.flags & MOVE_WRITE;
    unsigned size = k->decoded->move.size;
    uint64_t page = k->gpa.v >> PAGE_SHIFT;
    struct place *p = k->place = &v->cache.places[(page ^ write) % MMIO_PLACES];
    if (likely(p->hint.sequence == bus_sequence(v->mmio_bus) &&
               k->gpa.v - p->hint.first <= p->hint.span && p->page == page && p->size == size &&
               p->write == write))
        return true;
    if (p->page != page)
        p->generation = GENERATION_NEVER;
    bus_hint_fill(v->mmio_bus, &p->hint, k->gpa.v, size, write);
    p->page = page;
    p->size = (uint8_t)size;
    p->write = write;
    return p->hint.sequence;
}

/* Whether the exit is for what the place is: a doorbell rings whatever the slots say; a device has
 * to be where the MMU has found no slot, in this generation of them. */
static bool is_for(const struct mmio_vcpu *v, const struct known *k, enum mmio_target target)
{
    struct place *p = k->place;
    uint64_t generation = k->context->generation;
    if (p->hint.doorbell)
        return true;
    if (target == TARGET_DEVICE && mmio_cache_hit(&v->cache, k->gpa, generation))
        p->generation = generation;
    return target != TARGET_DOORBELL && p->generation == generation;
}

/* The instruction at RIP, if it is a move and its bytes are what was decoded. */
static bool find_instruction(struct mmio_vcpu *v, struct known *k)
{
    typedef uint64_t __attribute__((aligned(1))) unaligned;
    const struct decoded *d = k->decoded;
    if (page_offset(k->rip) > PAGE_SIZE - sizeof(d->bytes))
        return false;
    k->code = mmio_cache_memo(&v->cache, k->context, GVA(k->rip), KEY_FETCH);
    if (!k->code || !k->code->host)
        return false;
    const unaligned *bytes = (const void *)(k->code->host + page_offset(k->rip));
    return bytes[0] == d->bytes[0] && bytes[1] == d->bytes[1];
}

/* The operand, if it is what the exit was for, and all of it lies there. */
static bool find_operand(struct mmio_vcpu *v, struct known *k)
{
    const struct move *m = &k->decoded->move;
    k->registers = move_registers(v->cpu, m);
    uint64_t linear = k->registers + k->decoded->insn.disp;
    if (m->flags & MOVE_RELATIVE)
        linear += k->rip + m->length;
    k->data =
        mmio_cache_memo(&v->cache, k->context, GVA(linear), m->flags & MOVE_WRITE ? KEY_WRITE : 0);
    if (!k->data || k->data->needs_wp || (k->data->frame | page_offset(linear)) != k->gpa.v ||
        page_offset(linear) > PAGE_SIZE - m->size)
        return false;
    const uint64_t checked = KEY_AC | KEY_USER; /* if CR0.AM is set */
    return likely((k->context->key & checked) != checked) || !(linear & (m->size - 1u));
}

static bool find(struct mmio_vcpu *v, struct known *k, struct move_access *access)
{
    k->access = access;
    return find_instruction(v, k) && find_operand(v, k) && find_place(v, k) &&
           move_to(access, &k->decoded->move, &k->place->hint.region, k->gpa.v);
}

void mmio_known_keep(struct mmio_vcpu *vcpu, const struct walk_context *context, uint64_t rip,
                     gpa_t gpa, enum mmio_target target)
{
    struct known k;
    struct move_access access;
    k.decoded = mmio_decoded_at(&vcpu->cache, rip);
    if (!k.decoded->move.length)
        return;
    k.rip = rip;
    k.gpa = gpa;
    k.mode = vcpu->cache.last_mode;
    k.context = context;
    if (k.mode != cpu_mode(vcpu->cpu, context->rflags, context->cs_rights) ||
        trace_wants(TRACE_MMIO_EVENTS) || vcpu->breakpoints.on || !find(vcpu, &k, &access) ||
        !is_for(vcpu, &k, target))
        return;
    struct replay *room = mmio_replay_room(vcpu, rip, gpa, context->cr3);
    if (room)
        mmio_replay_keep(room, &k);
}

/* Everything that walks depend on, if the mode is that of the last emulation. */
static bool load_context(struct mmio_vcpu *v, struct walk_context *context, uint64_t mode)
{
    struct cpu_regs *cpu = v->cpu;
    if (mode != v->cache.last_mode)
        return false;
    context->generation = mmu_slot_generation(v->mmu);
    context->sequence = mmu_invalidate_sequence(v->mmu);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    context->cr3 = cpu_reg(cpu, REG_CR3);
    context->key = v->cache.last_key;
    context->pkru = unlikely(context->key & KEY_PKE) ? cpu_reg(cpu, REG_PKRU) : 0;
    return true;
}

bool mmio_known_move(struct mmio_vcpu *vcpu, gpa_t gpa, enum mmio_target target)
{
    struct cpu_regs *cpu = vcpu->cpu;
    struct walk_context context;
    struct known k; /* not cleared: each member is set before it is read */
    struct move_access access;
    uint64_t rflags = cpu_reg(cpu, REG_RFLAGS);
    k.rip = cpu_reg(cpu, REG_RIP);
    k.decoded = mmio_decoded_at(&vcpu->cache, k.rip);
    if (!k.decoded->move.length)
        return false;
    k.mode = cpu_mode(cpu, rflags, cpu_reg(cpu, REG_SEG_AR + SEG_CS));
    k.gpa = gpa;
    k.context = &context;
    if (!load_context(vcpu, &context, k.mode) || trace_wants(TRACE_MMIO_EVENTS) ||
        vcpu->breakpoints.on || target == TARGET_MEMORY || !find(vcpu, &k, &access) ||
        !is_for(vcpu, &k, target))
        return false;

    struct replay *room = mmio_replay_room(vcpu, k.rip, gpa, context.cr3);
    if (room)
        mmio_replay_keep(room, &k);
    vcpu->stats.cache_hits += target == TARGET_UNKNOWN;
    vcpu->stats.emulated++;
    vcpu->cache.gva_hits++;
    mmio_advance(vcpu, k.rip + access.move.length, rflags);
    move_make(vcpu, cpu, &access);
    return true;
}
