/* SPDX-License-Identifier: MIT */
/* Moves whose parts are cached. Called by the emulator. Pure. */
#include "mmio/known.h"

#include "arch/x86/reg_bits.h"
#include "lib/string.h"
#include "lib/trace.h"
#include "mmio/fetch.h"
#include "mmio/replay.h"

#define CS_TYPE          0xcu /* bits of the type field: code, and conforming */
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

/* The bus range of the access. False: the access is unclaimed or would be split. */
static ALWAYS_INLINE bool known_find_range(struct mmio_vcpu *v, struct known *k)
{
    bool write = k->decoded->move.flags & MOVE_WRITE;
    unsigned size = k->decoded->move.size;
    uint64_t page = k->gpa.v >> PAGE_SHIFT;
    struct bus_range *p = k->range = &v->cache.ranges[(page ^ write) % MMIO_BUS_RANGES];
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

/* Whether the bus range serves the exit: a doorbell always does; another device only if the MMU has
 * found no slot at the address in this generation of the slots. */
static ALWAYS_INLINE bool known_serves_exit(const struct mmio_vcpu *v, const struct known *k,
                                            enum mmio_target target)
{
    struct bus_range *p = k->range;
    uint64_t generation = k->context->generation;
    if (p->hint.doorbell)
        return true;
    if (target == TARGET_DEVICE && mmio_cache_hit(&v->cache, k->gpa, generation))
        p->generation = generation;
    return target != TARGET_DOORBELL && p->generation == generation;
}

/* Whether bytes that differ from those of the decoded instruction differ only after its end. Then
 * they are kept instead, since they are what replay entries are compared with. */
static NOINLINE bool known_same_instruction(struct decoded *decoded, uint64_t first,
                                            uint64_t second)
{
    const uint64_t bytes[2] = {first, second};
    if (memcmp(bytes, decoded->bytes, decoded->move.length) != 0)
        return false;
    decoded->bytes[0] = first;
    decoded->bytes[1] = second;
    return true;
}

/* The walk of the instruction, which is cached, and the instruction at RIP, which has not changed. */
static ALWAYS_INLINE enum known_why known_find_instruction(struct mmio_vcpu *v, struct known *k)
{
    typedef uint64_t __attribute__((aligned(1))) unaligned;
    struct decoded *d = k->decoded;
    if (page_offset(k->rip) > PAGE_SIZE - sizeof(d->bytes))
        return KNOWN_CODE_END;
    k->code = mmio_cached_walk(&v->cache, k->context, GVA(k->rip), KEY_FETCH);
    if (!k->code || !k->code->host)
        return KNOWN_CODE_WALK;
    const volatile unaligned *code = (const void *)(k->code->host + page_offset(k->rip));
    uint64_t first = code[0], second = code[1]; /* read once: another vCPU can change them */
    bool same = likely(first == d->bytes[0] && second == d->bytes[1]) ||
                known_same_instruction(d, first, second);
    return same ? KNOWN_SERVES : KNOWN_CODE_BYTES;
}

/* The walk of the operand, which is cached and leads to the GPA of the exit, and the operand, which
 * lies in one page. */
static ALWAYS_INLINE enum known_why known_find_operand(struct mmio_vcpu *v, struct known *k)
{
    const struct move *m = &k->decoded->move;
    k->registers = move_registers(v->cpu, m);
    uint64_t linear = k->registers + k->decoded->insn.disp;
    if (m->flags & MOVE_RELATIVE)
        linear += k->rip + m->length;
    k->data =
        mmio_cached_walk(&v->cache, k->context, GVA(linear), m->flags & MOVE_WRITE ? KEY_WRITE : 0);
    if (!k->data)
        return KNOWN_DATA_WALK;
    if (k->data->needs_wp)
        return KNOWN_DATA_WP;
    if ((k->data->frame | page_offset(linear)) != k->gpa.v)
        return KNOWN_OTHER_GPA;
    if (page_offset(linear) > PAGE_SIZE - m->size)
        return KNOWN_DATA_END;
    const uint64_t checked = KEY_AC | KEY_USER; /* #AC is possible if CR0.AM is set */
    bool aligned = likely((k->context->key & checked) != checked) || !(linear & (m->size - 1u));
    return aligned ? KNOWN_SERVES : KNOWN_ALIGNMENT;
}

/* The parts of the access, and whether they serve the exit. */
static ALWAYS_INLINE enum known_why known_find(struct mmio_vcpu *v, struct known *k,
                                               enum mmio_target target, struct move_access *access)
{
    k->access = access;
    enum known_why why = known_find_instruction(v, k);
    if (unlikely(why))
        return why;
    why = known_find_operand(v, k);
    if (unlikely(why))
        return why;
    if (unlikely(!known_find_range(v, k)))
        return KNOWN_UNCLAIMED;
    if (unlikely(!move_to(access, &k->decoded->move, &k->range->hint.region, k->gpa.v)))
        return KNOWN_FAR;
    return likely(known_serves_exit(v, k, target)) ? KNOWN_SERVES : KNOWN_UNPROVEN;
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
        trace_wants(TRACE_MMIO_EVENTS) || vcpu->breakpoints.on ||
        known_find(vcpu, &k, target, &access) != KNOWN_SERVES)
        return;
    struct replay *room = mmio_replay_room(vcpu, rip, gpa, context->cr3, k.mode);
    if (room)
        mmio_replay_keep(room, &k);
}

/* Loads all state that walks depend on. False unless the mode is that of the last emulation. */
static bool known_load_context(struct mmio_vcpu *v, struct walk_context *context, uint64_t mode)
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

/* Whether the access may be made without emulation, before any part of it is looked for. */
static ALWAYS_INLINE enum known_why known_allowed(struct mmio_vcpu *v, struct walk_context *context,
                                                  uint64_t mode, enum mmio_target target)
{
    if (!known_load_context(v, context, mode))
        return KNOWN_OTHER_MODE;
    if (trace_wants(TRACE_MMIO_EVENTS))
        return KNOWN_TRACED;
    if (v->breakpoints.on)
        return KNOWN_BREAKPOINTS;
    return target == TARGET_MEMORY ? KNOWN_MEMORY : KNOWN_SERVES;
}

static bool known_missed(struct mmio_vcpu *v, enum known_why why)
{
    v->cache.miss.known = (uint8_t)why;
    return false;
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
    vcpu->cache.miss.rip = k.rip;
    vcpu->cache.miss.gpa = gpa;
    vcpu->cache.miss.whys = 0;
    if (!k.decoded->move.length)
        return known_missed(vcpu, KNOWN_NO_MOVE);
    k.mode = cpu_mode(cpu, rflags, cpu_reg(cpu, REG_SEG_AR + SEG_CS));
    k.gpa = gpa;
    k.context = &context;
    enum known_why why = known_allowed(vcpu, &context, k.mode, target);
    if (likely(why == KNOWN_SERVES))
        why = known_find(vcpu, &k, target, &access);
    if (unlikely(why != KNOWN_SERVES))
        return known_missed(vcpu, why);

    struct replay *room = mmio_replay_room(vcpu, k.rip, gpa, context.cr3, k.mode);
    if (room)
        mmio_replay_keep(room, &k);
    vcpu->stats.cache_hits += target == TARGET_UNKNOWN;
    vcpu->stats.emulated++;
    vcpu->cache.gva_hits++;
    mmio_advance(vcpu, k.rip + access.move.length, rflags);
    move_make(vcpu, cpu, &access);
    return true;
}
