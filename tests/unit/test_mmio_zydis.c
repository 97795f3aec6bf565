/*
 * The decoder against Zydis, an independent one: random bytes, biased to the supported opcodes, in
 * 16, 32 and 64-bit code. Whenever either says "a supported memory access", both must, and agree in
 * length, sizes, direction, registers, immediate and address.
 */
#include "tests/unit/mmio_world.h"

#include "mmio/decode.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

#define INPUTS 1200000u

static const ZydisMachineMode machine_modes[] = {
    ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
static const ZydisStackWidth stack_widths[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                               ZYDIS_STACK_WIDTH_64};

static void random_bytes(uint8_t bytes[INSN_MAX])
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67,
                                       0xf2, 0xf3, 0x48, 0x41, 0x44, 0x4f, 0x66, 0x67};
    static const uint8_t opcodes[] = {0x63, 0x88, 0x89, 0x8a, 0x8b, 0xa0, 0xa1, 0xa2,
                                      0xa3, 0xc6, 0xc7, 0xb6, 0xb7, 0xbe, 0xbf, 0x8b};
    uint64_t r = world_random(), more = world_random();
    unsigned at = 0;
    memcpy(bytes, &r, 8);
    memcpy(bytes + 7, &more, 8);
    unsigned count = more >> 60 ? (unsigned)(r >> 60) & 3 : (unsigned)(r >> 60);
    for (; at < count && at < 14; at++)
        bytes[at] = r >> 8 & 0x100 << at ? prefixes[bytes[at] & 15] : 0x40 | (bytes[at] & 15);
    uint8_t opcode = opcodes[more >> 40 & 15];
    if (r & 0x70) {
        bool two = opcode >= 0xb0 && opcode < 0xc0;
        if (two && at < 14)
            bytes[at++] = 0x0f;
        bytes[at++] = opcode;
        if ((opcode == 0xc6 || opcode == 0xc7) && at < INSN_MAX && r & 7)
            bytes[at] &= 0xc7;
    }
    if (!(more >> 32 & 0xff))
        bytes[0] = 0xf0;
}

/* Zydis says it is one of the forms in our table, on memory. */
static bool zydis_supports(const ZydisDecodedInstruction *z)
{
    if (z->raw.modrm.mod == 3 && z->attributes & ZYDIS_ATTRIB_HAS_MODRM)
        return false;
    if (z->attributes & (ZYDIS_ATTRIB_HAS_VEX | ZYDIS_ATTRIB_HAS_EVEX))
        return false;
    if (z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
        switch (z->opcode) {
        case 0x63:
            return z->mnemonic == ZYDIS_MNEMONIC_MOVSXD;
        case 0x88:
        case 0x89:
        case 0x8a:
        case 0x8b:
        case 0xa0:
        case 0xa1:
        case 0xa2:
        case 0xa3:
        case 0xc6:
        case 0xc7:
            return z->mnemonic == ZYDIS_MNEMONIC_MOV;
        default:
            return false;
        }
    return z->opcode_map == ZYDIS_OPCODE_MAP_0F &&
           (z->mnemonic == ZYDIS_MNEMONIC_MOVZX || z->mnemonic == ZYDIS_MNEMONIC_MOVSX);
}

/* Our name of a Zydis register: number, and whether it is a high byte. */
static uint8_t gpr_of(ZydisRegister reg, bool *high)
{
    *high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
    if (reg == ZYDIS_REGISTER_NONE)
        return INSN_NO_REG;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
        return INSN_RIP;
    if (*high)
        return (uint8_t)(reg - ZYDIS_REGISTER_AH);
    if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B)
        return (uint8_t)(reg - ZYDIS_REGISTER_SPL + 4);
    return (uint8_t)ZydisRegisterGetId(reg);
}

static uint8_t segment_of(ZydisRegister reg)
{
    return (uint8_t)(reg - ZYDIS_REGISTER_ES); /* ES CS SS DS FS GS, as the CPU encodes them */
}

static void show(const uint8_t *bytes, unsigned code, const char *what)
{
    fprintf(stderr, "%s, %u-bit code:", what, 16u << code);
    for (unsigned i = 0; i < INSN_MAX; i++)
        fprintf(stderr, " %02x", bytes[i]);
    fprintf(stderr, "\n");
    fail();
}

#define AGREE(ours, theirs)                      \
    do {                                         \
        if ((ours) != (theirs))                  \
            show(bytes, code, #ours " differs"); \
    } while (0)

static void compare(const uint8_t *bytes, unsigned code, const struct insn *i,
                    const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    const ZydisDecodedOperand *m = &o[o[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? 0 : 1];
    const ZydisDecodedOperand *other = &o[m == &o[0]];
    bool high, unused;
    AGREE(i->length, z->length);
    AGREE(i->write, m == &o[0]);
    /* MOVSXD with a 16-bit operand reads 16 bits (SDM 2); Zydis says 32, as older manuals did. */
    if (i->op != INSN_SIGN_EXTEND || z->opcode != 0x63 || i->reg_size != 2)
        AGREE(i->size, m->size / 8);
    AGREE(i->segment, segment_of(m->mem.segment));
    AGREE(i->address_mask, ~0ull >> (64 - z->address_width));
    /* SIB base 5 with mod 0 means no base, whatever REX.B says (SDM 2, 2.2.1.2). Zydis 4.0.0
     * forgets that for R13D alone. */
    bool no_base =
        z->raw.modrm.mod == 0 && z->raw.sib.base == 5 && m->mem.base == ZYDIS_REGISTER_R13D;
    AGREE(i->base, no_base ? INSN_NO_REG : gpr_of(m->mem.base, &unused));
    AGREE(i->index, gpr_of(m->mem.index, &unused));
    if (i->index != INSN_NO_REG)
        AGREE(1u << i->shift, m->mem.scale ? m->mem.scale : 1);
    uint64_t disp = (uint64_t)(no_base ? z->raw.disp.value : m->mem.disp.value);
    AGREE((i->disp ^ disp) & i->address_mask, 0);
    AGREE(i->has_imm, other->type == ZYDIS_OPERAND_TYPE_IMMEDIATE);
    uint64_t mask = ~0ull >> (64 - 8 * i->size);
    if (i->has_imm) {
        AGREE((i->imm ^ other->imm.value.u) & mask, 0);
        return;
    }
    AGREE(i->reg, gpr_of(other->reg.value, &high));
    AGREE(i->high_byte, high);
    AGREE(i->reg_size, other->size / 8);
    AGREE(i->op == INSN_MOV, z->mnemonic == ZYDIS_MNEMONIC_MOV);
    AGREE(i->op == INSN_ZERO_EXTEND, z->mnemonic == ZYDIS_MNEMONIC_MOVZX);
}

static void against_zydis(void **state)
{
    (void)state;
    ZydisDecoder decoders[3];
    unsigned supported = 0, truncated = 0, too_long = 0;
    for (unsigned code = 0; code < 3; code++)
        assert_true(ZYAN_SUCCESS(
            ZydisDecoderInit(&decoders[code], machine_modes[code], stack_widths[code])));
    world_seed();
    for (unsigned n = 0; n < INPUTS; n++) {
        uint8_t bytes[INSN_MAX];
        unsigned code = n % 3;
        random_bytes(bytes);
        unsigned count = n % 5 ? INSN_MAX : 1 + (unsigned)(world_random() % INSN_MAX);
        ZydisDecodedInstruction z;
        ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
        ZydisDecoderContext context;
        ZyanStatus status =
            ZydisDecoderDecodeInstruction(&decoders[code], &context, bytes, count, &z);
        struct insn insn;
        enum decode_result result = decode(bytes, count, (enum code_size)code, &insn);
        bool theirs = ZYAN_SUCCESS(status) && zydis_supports(&z);
        if (theirs != (result == DECODE_OK))
            show(bytes, code, theirs ? "only Zydis takes this" : "only we take this");
        truncated += result == DECODE_TRUNCATED;
        too_long += result == DECODE_TOO_LONG;
        if ((result == DECODE_TRUNCATED || result == DECODE_TOO_LONG) && ZYAN_SUCCESS(status))
            show(bytes, code, "only we miss bytes");
        if (!theirs)
            continue;
        supported++;
        assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&decoders[code], &context, &z, o, 3)));
        compare(bytes, code, &insn, &z, o);
    }
    printf("%u of %u inputs supported, %u truncated, %u too long\n", supported, INPUTS, truncated,
           too_long);
    assert_true(supported > INPUTS / 4);
    assert_true(truncated > 1000);
    assert_true(too_long > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_zydis)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
