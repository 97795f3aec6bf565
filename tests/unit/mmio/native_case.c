/* SPDX-License-Identifier: MIT */
/* Cases for the comparison with the host's CPU; see the header. */
#include "tests/unit/mmio/native_case.h"

#include "arch/x86/reg_bits.h"
#include "mmio/alu.h"

#include <string.h>

static unsigned pick(uint64_t count)
{
    return (unsigned)(world_random() % count);
}

/* An address whose operand of up to 32 bytes has a byte in the device. */
static uint64_t some_address(unsigned size)
{
    static const uint64_t borders[] = {DEVICE_FIRST, DEVICE_FIRST + PAGE_SIZE, DEVICE_END};
    if (!pick(4)) {
        uint64_t address = borders[pick(3)] - pick(size);
        if (address + size > DEVICE_FIRST && address < DEVICE_END)
            return address;
    }
    uint64_t address = DEVICE_FIRST + 64 + pick(2 * PAGE_SIZE - 128);
    return pick(3) ? address & ~(uint64_t)(size - 1) : address;
}

static uint64_t some_value(void)
{
    static const uint64_t values[] = {0,          1,      0x7f,       0x80,
                                      0xff,       0x7fff, 0x8000,     0x7fffffff,
                                      0x80000000, ~0ull,  1ull << 63, ~0ull >> 1};
    uint64_t value = world_random();
    switch (pick(4)) {
    case 0:
        return values[pick(ARRAY_SIZE(values))];
    case 1:
        return value >> pick(64);
    default:
        return value;
    }
}

static void put(struct test_case *c, unsigned byte)
{
    c->code[c->length++] = (uint8_t)byte;
}

/* Prefixes and the opcode. `rxb`: REX's bits, or VEX's. */
static void put_opcode(struct test_case *c, bool wide, unsigned rxb)
{
    const struct insn_row *row = c->row;
    static const uint8_t mandatory[] = {
        [PREFIX_66] = 0x66, [PREFIX_F3] = 0xf3, [PREFIX_F2] = 0xf2, [PREFIX_NO_REP] = 0};
    unsigned map = row->opcode >> 8 & 3;
    if (row->flags & INSN_LOCKABLE && !pick(4))
        put(c, 0xf0);
    if (is_string(row) && pick(4))
        put(c, pick(2) ? 0xf2 : 0xf3);
    /* On a near branch Intel's CPUs ignore 66 in 64-bit code, and AMD's do not. */
    if ((row->prefix == PREFIX_ANY || row->prefix == PREFIX_NO_REP) && !is_branch(row) && !pick(3))
        put(c, 0x66);
    /* The data are beyond what 32-bit code reaches with 16 bits. */
    c->address_16 = c->mode->bits == 16;
    if (!(row->flags & INSN_MOFFS) && c->mode->bits != 32 && !pick(4)) {
        put(c, 0x67);
        c->address_16 = false;
    }
    if (c->mode->bits == 16 || !pick(8)) /* as DS, or without a meaning; not SS by BP or SP */
        put(c, 0x26);
    if (row->flags & INSN_VEX) {
        unsigned vvvv = row->flags & INSN_VVVV ? pick(16) : 15;
        if (c->mode->bits != 64)
            vvvv |= 8;
        unsigned low = vvvv << 3 | (row->prefix - 1u) | (row->flags & INSN_L0 ? 0 : pick(2) << 2);
        put(c, 0xc4);
        put(c, (~rxb & 7) << 5 | map);
        put(c, (wide && c->mode->bits == 64 ? 0x80u : 0) | low);
    } else {
        if (mandatory[row->prefix])
            put(c, mandatory[row->prefix]);
        if (c->mode->bits == 64 && (wide || rxb || !pick(4)))
            put(c, 0x40u | (wide ? 8u : 0) | rxb);
        if (map)
            put(c, 0x0f);
        if (map == 2)
            put(c, 0x38);
    }
    put(c, row->opcode & 0xff);
}

/* Registers and addressing so that the operand lies where it should. `base` and `index` are chosen;
 * the size is not known before the bytes are decoded, so the registers are set afterwards. */
static void put_modrm(struct test_case *c, unsigned reg, unsigned base, unsigned index)
{
    unsigned mod = (base & 7) == 5 ? 1 + pick(2) : pick(3);
    bool sib = (base & 7) == 4 || index != 4;
    put(c, mod << 6 | (reg & 7) << 3 | (sib ? 4 : base & 7));
    if (sib)
        put(c, pick(4) << 6 | (index & 7) << 3 | (base & 7));
    uint64_t disp = world_random();
    for (unsigned i = 0; i < (mod == 1 ? 1u : mod == 2 ? 4u : 0u); i++)
        put(c, disp >> (8 * i) & 0xff);
}

static void put_modrm_16(struct test_case *c, unsigned reg)
{
    unsigned rm = pick(8), mod = rm == 6 ? 1 + pick(2) : pick(3);
    put(c, mod << 6 | (reg & 7) << 3 | rm);
    for (unsigned i = 0; i < mod; i++)
        put(c, pick(256));
}

static void put_form(struct test_case *c)
{
    const struct insn_row *row = c->row;
    unsigned registers = c->mode->bits == 64 ? 16 : 8;
    unsigned base = pick(registers), index = pick(registers), reg = pick(registers);
    bool bit_string = row->op >= INSN_BT && row->op <= INSN_BTC && row->operand == OPERAND_GPR;
    if (row->extension != INSN_NO_EXTENSION)
        reg = row->extension;
    if (row->operand == OPERAND_SEGMENT)
        reg = pick(6);
    while (base == 4 && uses_stack(row))
        base = pick(registers);
    while (bit_string && reg == base)
        reg = pick(registers);
    if (index == base || (bit_string && index == reg) || (index == 4 && pick(2)) || pick(2))
        index = 4; /* none */
    unsigned rxb = (reg & 8) >> 1 | (index & 8) >> 2 | (base & 8) >> 3;
    bool modrm = !(row->flags & (INSN_MOFFS | INSN_SI | INSN_DI | INSN_NO_MODRM));
    put_opcode(c, !pick(3), modrm ? rxb : row->operand == OPERAND_OPCODE ? reg >> 3 : 0);
    if (modrm && c->address_16)
        put_modrm_16(c, reg);
    else if (modrm)
        put_modrm(c, reg, base, index);
    if (row->flags & INSN_MOFFS) {
        c->operand = some_address(1);
        uint64_t offset = c->operand - c->mode->ds_base;
        for (unsigned i = 0; i < c->mode->bits / 8; i++)
            put(c, offset >> (8 * i) & 0xff);
    }
    uint64_t imm = some_value();
    memcpy(&c->code[c->length], &imm, 8);
}

/* An address with anything in the bits that do not count. */
static uint64_t above(const struct test_case *c, uint64_t address)
{
    uint64_t mask = c->insn.address_mask, unused = c->mode->bits == 64 ? ~mask : ~mask & 0xffffffff;
    return (address & mask) | (world_random() & unused);
}

/* The register that makes the address right, given all the others. */
static void aim(struct test_case *c)
{
    const struct insn *i = &c->insn;
    uint64_t *gpr = c->before.gpr;
    uint64_t rest = i->disp;
    c->operand = some_address(i->size);
    if (c->row->flags & INSN_ALIGNED && pick(8))
        c->operand =
            align_up(c->operand, i->size) - (c->operand + i->size > DEVICE_END ? i->size : 0);
    if (i->op >= INSN_BT && i->op <= INSN_BTC && i->operand == OPERAND_GPR) {
        uint64_t bit = (uint64_t)pick(0x8000) - 0x4000;
        unsigned bits = 8u * i->size;
        gpr[i->reg] =
            bits == 64 ? bit : (some_value() << (bits - 1) << 1) | (bit & (BIT(bits) - 1));
        rest += (uint64_t)((int64_t)bit >> __builtin_ctz(bits)) * i->size;
    }
    if (i->op == INSN_XLAT)
        rest += gpr[GPR_RAX] & 0xff;
    if (i->index != INSN_NO_REG)
        rest += gpr[i->index] << i->shift;
    if (i->op == INSN_POP && i->base == GPR_RSP)
        rest += i->size;
    gpr[i->base] = above(c, c->operand - c->mode->ds_base - rest);
}

/* The stack in the device; and immediates that lead a CALL home and make a frame of ENTER small. */
static void aim_stack(struct test_case *c)
{
    struct insn *i = &c->insn;
    if (i->op == INSN_CALL_NEAR) {
        int64_t distance = (int64_t)(NATIVE_AFTER - NATIVE_CODE) - c->length;
        unsigned bytes = i->size == 2 ? 2 : 4;
        memcpy(&c->code[c->length - bytes], &distance, bytes);
        i->imm = (uint64_t)distance;
    }
    if (i->op == INSN_ENTER) {
        c->code[c->length - 1] &= 1;
        c->code[c->length - 2] = 0;
        i->imm &= 0x100ff;
    }
    c->operand = some_address(i->size);
    if (i->op == INSN_LEAVE)
        c->before.gpr[GPR_RBP] = c->operand;
    else
        c->before.gpr[GPR_RSP] = c->operand + (i->write ? operand_bytes(c) : 0);
}

/* rSI and rDI: one at least in the device, for as long as it takes. */
static void aim_string(struct test_case *c)
{
    uint64_t *gpr = c->before.gpr;
    uint64_t ram = pick(2) ? NATIVE_BASE + 0x400 + pick(0x700) : DEVICE_END + 0x400 + pick(0x700);
    uint64_t si = DEVICE_FIRST + 0x200 + pick(2 * PAGE_SIZE - 0x400);
    uint64_t di = DEVICE_FIRST + 0x200 + pick(2 * PAGE_SIZE - 0x400);
    bool both = (c->row->flags & INSN_SI) && (c->row->flags & INSN_DI);
    if (!pick(4))
        di = si + pick(9); /* overlapping */
    if (both && pick(2))
        *(pick(2) ? &si : &di) = ram;
    gpr[GPR_RSI] = above(c, si - c->mode->ds_base);
    gpr[GPR_RDI] = above(c, di - c->mode->ds_base);
    gpr[GPR_RCX] = above(c, 1 + pick(pick(8) ? 20 : 60));
}

/* POP's operand sees the register that it pops into; the stack's pointer has to lead to both. */
static bool is_possible(const struct test_case *c)
{
    const struct insn *i = &c->insn;
    bool bit_string = i->op >= INSN_BT && i->op <= INSN_BTC && i->operand == OPERAND_GPR;
    if (bit_string && (i->reg == i->base || i->reg == i->index))
        return false;
    return !uses_stack(c->row) || (i->index != GPR_RSP && i->base != GPR_RSP);
}

static void random_state(struct test_case *c)
{
    struct native_state *s = &c->before;
    for (unsigned i = 0; i < 16; i++) {
        s->gpr[i] = some_value();
        if (c->mode->bits != 64)
            s->gpr[i] = i < 8 ? (uint32_t)s->gpr[i] : 0;
    }
    s->rflags = world_random() & (ALU_FLAGS | RFLAGS_DF);
    for (unsigned i = 0; i < sizeof(s->vectors); i++)
        s->vectors[i / 32][i % 32] = (uint8_t)world_random();
    for (unsigned i = 0; i < 8; i++)
        s->mmx[i] = world_random();
    if (uses_stack(c->row) || c->row->op == INSN_JMP)
        s->gpr[GPR_RSP] = NATIVE_BASE + 0x800 + pick(8) + (pick(4) ? 0 : PAGE_SIZE * (1 + pick(3)));
}

bool native_case_make(struct test_case *c, const struct insn_row *row, enum code_size code_size)
{
    memset(c, 0, sizeof(*c));
    c->row = row;
    c->code_size = code_size;
    c->mode = &native_modes[code_size];
    put_form(c);
    enum decode_result result = decode(c->code, INSN_MAX, code_size, &c->insn);
    if (result != DECODE_OK || insn_row(&c->insn) != row || !is_possible(c))
        return false;
    c->length = c->insn.length;
    random_state(c);
    if (is_string(row))
        aim_string(c);
    else if (is_stack_only(row))
        aim_stack(c);
    else if (!(row->flags & INSN_MOFFS))
        aim(c);
    return true;
}

void native_case_memory(const struct test_case *c)
{
    for (unsigned page = 0; page < NATIVE_PAGES; page++)
        for (unsigned i = 0; i < PAGE_SIZE; i += 8) {
            uint64_t value = some_value();
            memcpy(native_page(page) + i, &value, 8);
        }
    uint8_t *at = (uint8_t *)(uintptr_t)c->operand;
    const uint64_t *gpr = c->before.gpr;
    if (is_branch(c->row) && c->insn.read) { /* home, or where no code can be */
        uint64_t target = NATIVE_AFTER - c->mode->cs_base;
        if (c->mode->bits == 64 && !pick(8))
            target = BIT(47) + pick(100);
        memcpy(at, &target, c->insn.size);
    }
    if (c->row->op == INSN_CMPXCHG && pick(2))
        memcpy(at, &gpr[GPR_RAX], c->insn.size);
    if (c->row->op == INSN_CMPXCHG_PAIR && pick(2)) {
        memcpy(at, &gpr[GPR_RAX], c->insn.size / 2u);
        memcpy(at + c->insn.size / 2u, &gpr[GPR_RDX], c->insn.size / 2u);
    }
    if (c->row->op == INSN_CMPS && pick(2)) /* equal for a while */
        memmove((void *)(uintptr_t)string_address(c, gpr[GPR_RDI]),
                (void *)(uintptr_t)string_address(c, gpr[GPR_RSI]), 32);
}
