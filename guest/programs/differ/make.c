/* SPDX-License-Identifier: MIT */
/* Implements differ/make.h. Called by differ.c. */
#include "guest/programs/differ/make.h"

#include "guest/programs/rt/rt.h"

#define FLAG_CF   BIT(0)
#define FLAG_PF   BIT(2)
#define FLAG_AF   BIT(4)
#define FLAG_ZF   BIT(6)
#define FLAG_SF   BIT(7)
#define FLAG_DF   BIT(10)
#define FLAG_OF   BIT(11)
#define FLAGS_ALL (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

uint64_t random_state = 1;
bool no_fast_strings;

uint64_t random64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint32_t random_below(uint32_t end)
{
    return (uint32_t)(random64() >> 33) % end;
}

static bool one_in(uint32_t n)
{
    return !random_below(n);
}

/* Returns a random value; values with the sign bit set and small ones are more frequent. */
static uint64_t some_value(void)
{
    static const uint64_t edges[] = {0, 1, ~0ull, 0x80, 0x8000, 0x80000000, BIT(63), 0x7fffffff};
    return one_in(3) ? edges[random_below(ARRAY_SIZE(edges))] : random64();
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

static bool is_string(const struct insn_row *row)
{
    return row->flags & (INSN_SI | INSN_DI);
}

/* Outside 64-bit code, instructions cannot name the upper half of the registers, but Bochs executes
 * such encodings. */
static uint8_t *vex_prefix(const struct insn_row *row, enum code_size code, uint8_t *p)
{
    static const uint8_t pp[] = {[PREFIX_66] = 1, [PREFIX_F3] = 2, [PREFIX_F2] = 3};
    uint8_t map = row->opcode >> 8 & 3,
            vvvv = row->flags & INSN_VVVV ? (uint8_t)random_below(16) : 15;
    uint8_t l = !(row->flags & INSN_L0) && one_in(2) ? 4 : 0;
    if (code != CODE_64)
        vvvv |= 8;
    *p++ = 0xc4;
    *p++ = (uint8_t)(random_below(8) << 5 | map);
    *p++ = (uint8_t)(random_below(2) << 7 | (unsigned)(vvvv << 3 | l | pp[row->prefix]));
    return p;
}

static uint8_t *legacy_prefix(const struct insn_row *row, enum code_size code, uint8_t *p)
{
    static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    bool any = row->prefix == PREFIX_ANY || row->prefix == PREFIX_NO_REP;
    if (one_in(6))
        *p++ = segments[random_below(ARRAY_SIZE(segments))];
    if (one_in(8))
        *p++ = 0x67;
    if (row->prefix == PREFIX_66 || (any && one_in(3)))
        *p++ = 0x66;
    if (row->prefix == PREFIX_F2 || row->prefix == PREFIX_F3)
        *p++ = row->prefix == PREFIX_F2 ? 0xf2 : 0xf3;
    if (is_string(row) && one_in(2))
        *p++ = one_in(2) ? 0xf2 : 0xf3;
    if (row->flags & INSN_LOCKABLE && one_in(4))
        *p++ = 0xf0;
    if (code == CODE_64 && one_in(2))
        *p++ = (uint8_t)(0x40 | random_below(16));
    return p;
}

static void put_form(struct made *m, const struct insn_row *row, enum code_size code)
{
    uint8_t *p = m->bytes, map = row->opcode >> 8 & 3;
    if (row->flags & INSN_VEX) {
        p = vex_prefix(row, code, p);
    } else {
        p = legacy_prefix(row, code, p);
        if (map)
            *p++ = 0x0f;
        if (map == 2)
            *p++ = 0x38;
    }
    *p++ = (uint8_t)row->opcode;
    if (!(row->flags & INSN_MOFFS) && !is_string(row)) {
        unsigned reg = row->extension != INSN_NO_EXTENSION ? row->extension : random_below(8);
        *p++ = (uint8_t)(random_below(3) << 6 | reg << 3 | random_below(8));
    }
    for (unsigned i = 0; i < 2; i++, p += 8) {
        uint64_t rest = some_value();
        memcpy(p, &rest, 8);
    }
}

static unsigned immediate_size(const struct insn *i)
{
    switch (i->operand) {
    case OPERAND_IMM8:
    case OPERAND_GPR_IMM8:
        return 1;
    case OPERAND_IMM:
    case OPERAND_GPR_IMM:
        return i->size > 4 ? 4 : i->size;
    default:
        return 0;
    }
}

/* ---- The operand's address ------------------------------------------------------------------- */

static uint64_t some_place(unsigned size)
{
    static const uint64_t places[] = {PLACE, PLACE, PLACE_RO, PLACE_ABSENT};
    unsigned which = random_below(ARRAY_SIZE(places));
    /* so that most instructions that may fault do not */
    uint64_t reach = which > 1 && one_in(2) ? 40 : 80;
    uint64_t at = places[which] + BORDER - 40 - size + random_below((uint32_t)reach);
    return one_in(3) ? at & ~(uint64_t)(size - 1) : at;
}

/* The segment bases are those of run.S. */
static uint64_t segment_base(unsigned segment, enum code_size code)
{
    if (code == CODE_64)
        return segment == SEG_FS ? FS_OFFSET : segment == SEG_GS ? GS_OFFSET : 0;
    bool based = segment == SEG_FS || (code == CODE_16 && segment != SEG_SS && segment != SEG_GS);
    return based ? PLACE : 0;
}

static void set_low(struct made *m, unsigned gpr, uint64_t value)
{
    uint64_t mask = m->insn.address_mask;
    m->state.gpr[gpr] = (value & mask) | (random64() & ~mask);
}

/* Patches the displacement or address in the instruction, if no register can lead to the
 * operand. */
static void patch(struct made *m, uint64_t value)
{
    unsigned size = m->insn.address_mask == 0xffff ? 2 : 4;
    if (insn_row(&m->insn)->flags & INSN_MOFFS)
        size = m->insn.address_mask == ~0ull ? 8 : size;
    memcpy(&m->bytes[m->insn.length - immediate_size(&m->insn) - size], &value, size);
}

static bool aim(struct made *m, enum code_size code, uint64_t rip)
{
    const struct insn *i = &m->insn;
    uint64_t *gpr = m->state.gpr, base = segment_base(i->segment, code), rest;
    if (i->segment == SEG_CS || (i->address_mask == 0xffff && !base) || i->index == i->base)
        return false;
    m->target = some_place(i->size);
    if (insn_row(i)->flags & INSN_ALIGNED && !one_in(8))
        m->target &= ~(uint64_t)(i->size - 1);
    rest = m->target - base;
    if (i->op >= INSN_BT && i->op <= INSN_BTC && i->operand == OPERAND_GPR) {
        int64_t bit = (int64_t)random_below(512) - 256; /* on both sides of the operand */
        if (i->reg == i->base || i->reg == i->index)
            return false;
        gpr[i->reg] = (uint64_t)bit;
        rest -= (uint64_t)(bit >> __builtin_ctz(8u * i->size)) * i->size;
    }
    if (i->index < GPR_COUNT) {
        if (i->base >= GPR_COUNT)
            /* so that a displacement can reach the operand */
            set_low(m, i->index, random64() & 0xffff);
        rest -= gpr[i->index] << i->shift;
    }
    if (i->base < GPR_COUNT)
        set_low(m, i->base, rest - i->disp);
    else
        patch(m, rest - (i->base == INSN_RIP ? rip + i->length : 0));
    return true;
}

/* Bochs 3 executes REP MOVS and REP STOS in bulk if possible, and fails an assertion if it does
 * that with 32-bit addresses in 64-bit code. */
static bool is_fast_string(const struct made *m, enum code_size code)
{
    const struct insn *i = &m->insn;
    return (i->op == INSN_MOVS || i->op == INSN_STOS) && code == CODE_64 &&
           i->address_mask == 0xffffffff && i->repeat && !(m->state.rflags & FLAG_DF);
}

static bool aim_string(struct made *m, enum code_size code)
{
    const struct insn *i = &m->insn;
    uint64_t source = segment_base(i->segment, code), target = segment_base(SEG_ES, code);
    uint32_t flags = insn_row(i)->flags;
    m->target = some_place(i->size);
    if (flags & INSN_SI && (i->segment == SEG_CS || (i->address_mask == 0xffff && !source)))
        return false;
    if ((i->address_mask == 0xffff && !target) || (no_fast_strings && is_fast_string(m, code)))
        return false;
    set_low(m, GPR_RSI, m->target - source);
    set_low(m, GPR_RDI, some_place(i->size) - target);
    set_low(m, GPR_RCX, random_below(6));
    return true;
}

/* ---- Registers and memory for particular instructions ---------------------------------------- */

static void prepare(struct made *m, uint64_t back)
{
    uint64_t *gpr = m->state.gpr;
    const struct insn *i = &m->insn;
    m->memory = some_value();
    m->memory_matters = true;
    switch (i->op) {
    case INSN_CALL:
    case INSN_JMP:
        m->memory = back;
        return;
    case INSN_CMPXCHG:
        if (i->base != GPR_RAX && i->index != GPR_RAX && one_in(2))
            gpr[GPR_RAX] = m->memory;
        return;
    case INSN_CMPXCHG_PAIR:
        if (i->base == GPR_RAX || i->index == GPR_RAX || i->base == GPR_RDX ||
            i->index == GPR_RDX || one_in(2))
            return;
        gpr[GPR_RAX] = i->size == 8 ? (uint32_t)m->memory : m->memory;
        gpr[GPR_RDX] = m->memory >> 32;
        return;
    case INSN_DIV:
    case INSN_IDIV:
        if (i->base != GPR_RDX && i->index != GPR_RDX)
            gpr[GPR_RDX] = i->op == INSN_DIV ? random_below(3) : one_in(2) ? 0 : ~0ull;
        return;
    default:
        m->memory_matters = false;
    }
}

static bool is_shift(const struct insn *i)
{
    return i->op >= INSN_ROL && i->op <= INSN_SHRD;
}

/* The undefined flags depend on the count, and are not compared. */
static uint64_t undefined_flags(const struct insn *i, unsigned count)
{
    switch (i->op) {
    case INSN_AND:
    case INSN_OR:
    case INSN_XOR:
    case INSN_TEST:
        return FLAG_AF;
    case INSN_IMUL:
    case INSN_MUL:
    case INSN_IMUL_WIDE:
        return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
    case INSN_DIV:
    case INSN_IDIV:
        return FLAGS_ALL;
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        return FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
    case INSN_ROL:
    case INSN_ROR:
    case INSN_RCL:
    case INSN_RCR:
        return count != 1 ? FLAG_OF : 0;
    default:
        if (!is_shift(i))
            return 0;
        return FLAG_AF | (count != 1 ? FLAG_OF : 0) | (count >= 8u * i->size ? FLAG_CF : 0);
    }
}

/* SHLD and SHRD by more than the operand's size leave the operand undefined. */
static bool limit_count(struct made *m)
{
    const struct insn *i = &m->insn;
    if (i->op != INSN_SHLD && i->op != INSN_SHRD)
        return true;
    if (i->operand == OPERAND_GPR_IMM8)
        m->bytes[i->length - 1] &= 15;
    else if (i->base == GPR_RCX || i->index == GPR_RCX)
        return false;
    else
        m->state.gpr[GPR_RCX] &= ~0xf0ull;
    return true;
}

bool make(struct made *m, const struct insn_row *row, enum code_size code, uint64_t rip,
          uint64_t back, uint64_t stack)
{
    struct insn *i = &m->insn;
    bool on_stack = row->op >= INSN_PUSH && row->op <= INSN_JMP;
    bool branch = row->op == INSN_CALL || row->op == INSN_JMP;
    put_form(m, row, code);
    if (decode(m->bytes, INSN_MAX, code, i) != DECODE_OK || insn_row(i) != row)
        return false;
    if (branch && code == CODE_32 && i->size == 2)
        return false; /* the branch cannot reach beyond the first 64 KiB */
    for (unsigned n = 0; n < GPR_COUNT; n++) {
        m->state.gpr[n] = some_value();
        for (unsigned quad = 0; quad < 4; quad++)
            m->state.vectors[n][quad] = random64();
    }
    m->state.rflags = (random64() & (FLAGS_ALL | (is_string(row) ? FLAG_DF : 0))) | 2;
    if (on_stack) {
        if (i->base == GPR_RSP || i->index == GPR_RSP)
            return false;
        m->state.gpr[GPR_RSP] = stack;
    }
    if (!limit_count(m) || !(is_string(row) ? aim_string(m, code) : aim(m, code, rip)))
        return false;
    uint8_t length = i->length;
    if (decode(m->bytes, INSN_MAX, code, i) != DECODE_OK || i->length != length)
        return false;
    prepare(m, back);
    unsigned count = i->operand == OPERAND_ONE ? 1
                     : i->has_imm || i->operand == OPERAND_GPR_IMM8
                         ? m->bytes[length - 1]
                         : (unsigned)m->state.gpr[GPR_RCX];
    m->undefined = undefined_flags(i, count & (i->size == 8 ? 63 : 31));
    return true;
}
