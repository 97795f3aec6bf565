/* SPDX-License-Identifier: MIT */
/*
 * The instruction decoder: prefixes, opcode, ModRM and SIB, displacement and immediate, in the
 * order of the encoding (SDM 2, 2.1). Called by the emulator on fetched bytes; the guest controls
 * the bytes, so any value may occur. Pure; touches nothing but its arguments.
 */
#include "mmio/decode.h"

#include "lib/bits.h"

#define OPCODE_IRET 0xcf

/* ---- Reading bytes --------------------------------------------------------------------------- */

struct reader {
    const uint8_t *bytes;
    unsigned count;
    unsigned at;
    bool short_of_bytes;
    enum code_size code;
    uint8_t rex;    /* the REX prefix, or the equivalent bits of VEX */
    uint8_t repeat; /* the last prefix of F2 and F3, or 0 */
    uint8_t vvvv;
    bool vex, wide; /* `wide`: VEX.L */
    bool operand_prefix, address_prefix, lock;
    int override; /* enum segment or -1 */
};

/* The next `size` bytes, sign-extended. At the end of the bytes it sets `short_of_bytes` and
 * returns 0; the caller then discards the result. */
static uint64_t decode_take(struct reader *r, unsigned size)
{
    if (r->short_of_bytes || size > r->count - r->at) {
        r->short_of_bytes = true;
        return 0;
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)r->bytes[r->at + i] << (8 * i);
    r->at += size;
    unsigned unused = 64 - 8 * size;
    return (uint64_t)((int64_t)(value << unused) >> unused);
}

/* 64-bit code ignores the overrides of ES, CS, SS and DS (SDM 2, 2.2.1). */
static void decode_override(struct reader *r, int segment)
{
    if (r->code != CODE_64 || segment >= SEG_FS)
        r->override = segment;
}

/* Reads the prefixes and returns the first byte that is no prefix. REX is ignored unless it is the
 * last prefix. */
static uint8_t decode_prefixes(struct reader *r)
{
    for (;;) {
        uint8_t byte = (uint8_t)decode_take(r, 1);
        if (r->short_of_bytes)
            return 0;
        if (r->code == CODE_64 && (byte & 0xf0) == 0x40) {
            r->rex = byte;
            continue;
        }
        switch (byte) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            decode_override(r, (byte >> 3) & 3);
            break;
        case 0x64:
        case 0x65:
            decode_override(r, byte == 0x64 ? SEG_FS : SEG_GS);
            break;
        case 0x66:
            r->operand_prefix = true;
            break;
        case 0x67:
            r->address_prefix = true;
            break;
        case 0xf0:
            r->lock = true;
            break;
        case 0xf2:
        case 0xf3:
            r->repeat = byte;
            break;
        default:
            return byte;
        }
        r->rex = 0;
    }
}

/* ---- Addressing forms ------------------------------------------------------------------------ */

#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

static uint8_t decode_extend(const struct reader *r, uint64_t bit, uint8_t reg)
{
    return r->rex & bit ? reg | 8 : reg;
}

/* SDM 2, table 2-1. */
static void decode_address_16(struct reader *r, uint8_t mod, uint8_t rm, struct insn *insn)
{
    static const uint8_t bases[8] = {GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP,
                                     GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX};
    static const uint8_t indices[8] = {GPR_RSI,     GPR_RDI,     GPR_RSI,     GPR_RDI,
                                       INSN_NO_REG, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG};
    insn->base = bases[rm];
    insn->index = indices[rm];
    if (mod == 0 && rm == 6) {
        insn->base = INSN_NO_REG;
        mod = 2;
    }
    if (mod)
        insn->disp = decode_take(r, mod);
}

/* SDM 2, tables 2-2 and 2-3, and 2.2.1.6 for RIP. */
static void decode_address(struct reader *r, uint8_t mod, uint8_t rm, struct insn *insn)
{
    uint8_t base = rm;
    if (rm == 4) {
        uint8_t sib = (uint8_t)decode_take(r, 1);
        uint8_t index = decode_extend(r, REX_X, (sib >> 3) & 7);
        insn->index = index == GPR_RSP ? INSN_NO_REG : index;
        insn->shift = sib >> 6;
        base = sib & 7;
    }
    insn->base = decode_extend(r, REX_B, base);
    unsigned disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    if (mod == 0 && base == 5) {
        insn->base = rm == 5 && r->code == CODE_64 ? INSN_RIP : INSN_NO_REG;
        disp = 4;
    }
    if (disp)
        insn->disp = decode_take(r, disp);
}

static unsigned address_bytes(const struct reader *r)
{
    static const uint8_t sizes[][2] = {[CODE_16] = {2, 4}, [CODE_32] = {4, 2}, [CODE_64] = {8, 4}};
    return sizes[r->code][r->address_prefix];
}

static unsigned operand_bytes(const struct reader *r)
{
    static const uint8_t sizes[][2] = {[CODE_16] = {2, 4}, [CODE_32] = {4, 2}, [CODE_64] = {4, 2}};
    return r->rex & REX_W ? 8 : sizes[r->code][r->operand_prefix];
}

/* ---- Opcodes --------------------------------------------------------------------------------- */

/* Reads a VEX prefix and stores its fields as the prefixes that they replace. False: #UD (SDM 2,
 * 2.3). */
static bool decode_vex(struct reader *r, uint8_t first, uint16_t *map)
{
    static const uint8_t repeats[4] = {0, 0, 0xf3, 0xf2};
    bool prefixed = r->operand_prefix || r->repeat || r->lock || r->rex;
    uint8_t high = (uint8_t)decode_take(r, 1), low = high;
    *map = 1;
    if (first == 0xc4) {
        low = (uint8_t)decode_take(r, 1);
        *map = high & 0x1f;
    }
    if (r->code == CODE_64) {
        r->rex = high & BIT(7) ? 0 : REX_R;
        if (first == 0xc4) {
            r->rex |= (uint8_t)((high & BIT(6) ? 0 : REX_X) | (high & BIT(5) ? 0 : REX_B) |
                                (low & BIT(7) ? REX_W : 0));
        }
    }
    r->vex = true;
    r->wide = low & BIT(2);
    r->vvvv = (uint8_t)(~low >> 3 & 15);
    r->operand_prefix = (low & 3) == 1;
    r->repeat = repeats[low & 3];
    return !prefixed && *map >= 1 && *map <= 3;
}

/* C4 and C5 are VEX prefixes in 64-bit code, and in other code where LES or LDS would have a
 * register operand. */
static bool decode_is_vex(const struct reader *r, uint8_t byte)
{
    if (byte != 0xc4 && byte != 0xc5)
        return false;
    return r->code == CODE_64 || r->at == r->count || r->bytes[r->at] >= 0xc0;
}

/* Reads the opcode in the form of insn_row.opcode. False: #UD. */
static bool decode_opcode(struct reader *r, uint16_t *opcode)
{
    uint8_t byte = decode_prefixes(r);
    uint16_t map = 0;
    bool legal = true;
    if (decode_is_vex(r, byte)) {
        legal = decode_vex(r, byte, &map);
        byte = (uint8_t)decode_take(r, 1);
        map |= INSN_OPCODE_VEX >> 8;
    } else if (byte == 0x0f) {
        byte = (uint8_t)decode_take(r, 1);
        map = 1;
        if (byte == 0x38 || byte == 0x3a) {
            map = byte == 0x38 ? 2 : 3;
            byte = (uint8_t)decode_take(r, 1);
        }
    }
    *opcode = (uint16_t)(map << 8 | byte);
    return legal;
}

/* The first row whose opcode is not below `opcode`, or insn_row_count. */
static unsigned find_rows(uint16_t opcode)
{
    unsigned low = 0, high = insn_row_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (insn_rows[middle].opcode < opcode)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool row_exists(unsigned row, uint16_t opcode)
{
    return row < insn_row_count && insn_rows[row].opcode == opcode;
}

static bool prefix_matches(const struct reader *r, uint8_t wanted)
{
    switch (wanted) {
    case PREFIX_NONE:
        return !r->operand_prefix && !r->repeat;
    case PREFIX_66:
        return r->operand_prefix && !r->repeat;
    case PREFIX_F3:
        return r->repeat == 0xf3;
    case PREFIX_F2:
        return r->repeat == 0xf2;
    case PREFIX_NO_REP:
        return !r->repeat;
    default:
        return true;
    }
}

/* The row of `opcode` that matches ModRM.reg, the prefixes and the code size, or NULL. */
static const struct insn_row *choose_row(const struct reader *r, uint16_t opcode, unsigned first,
                                         uint8_t reg)
{
    for (unsigned i = first; row_exists(i, opcode); i++) {
        const struct insn_row *row = &insn_rows[i];
        uint32_t other = r->code == CODE_64 ? INSN_OTHER_64 : INSN_ONLY_64;
        if ((row->extension == reg || row->extension == INSN_NO_EXTENSION) &&
            prefix_matches(r, row->prefix) && !(row->flags & other))
            return row;
    }
    return NULL;
}

/* The entry of the sorted table of undefined opcodes that holds `opcode`, or NULL. */
static const struct insn_undefined *find_undefined(const struct reader *r, uint16_t opcode)
{
    for (unsigned i = 0; i < insn_undefined_count && opcode >= insn_undefined[i].first; i++) {
        const struct insn_undefined *u = &insn_undefined[i];
        if (opcode <= u->last)
            return !u->only_64 || r->code == CODE_64 ? u : NULL;
    }
    return NULL;
}

/* Whether the opcode is undefined for each ModRM.reg in the mask `extensions`. */
static bool is_undefined(const struct insn_undefined *u, uint8_t extensions)
{
    return u && !(extensions & ~u->extensions);
}

/* XABORT and XBEGIN use encodings that are undefined for MOV. */
static bool is_transaction(uint16_t opcode, uint8_t modrm)
{
    return modrm == 0xf8 && (opcode == 0xc6 || opcode == 0xc7);
}

/* ---- Operands -------------------------------------------------------------------------------- */

static uint8_t decode_size(const struct reader *r, uint8_t size)
{
    unsigned operand = operand_bytes(r);
    switch (size) {
    case SIZE_OPERAND:
        return (uint8_t)operand;
    case SIZE_OPERAND_MAX_4:
        return operand == 8 ? 4 : (uint8_t)operand;
    case SIZE_4_OR_8:
        return r->rex & REX_W ? 8 : 4;
    case SIZE_PAIR:
        return r->rex & REX_W ? 16 : 8;
    case SIZE_STACK:
        return r->code == CODE_64 && operand == 4 ? 8 : (uint8_t)operand;
    case SIZE_BRANCH:
        return r->code == CODE_64 ? 8 : (uint8_t)operand;
    case SIZE_VECTOR:
        return r->wide ? 32 : 16;
    case SIZE_POINTER:
        return (uint8_t)(operand + 2);
    case SIZE_TABLE:
        return r->code == CODE_64 ? 10 : 6;
    case SIZE_BOUNDS:
        return (uint8_t)(2 * operand);
    default:
        return size;
    }
}

/* Without REX, the byte registers 4 to 7 are AH, CH, DH and BH. */
static void decode_register(const struct reader *r, uint8_t reg, struct insn *insn)
{
    if (insn->operand == OPERAND_OPCODE) {
        insn->reg = decode_extend(r, REX_B, insn_row(insn)->opcode & 7);
        return;
    }
    insn->high_byte = insn->reg_size == 1 && !r->rex && reg >= 4;
    insn->reg = insn->high_byte ? reg - 4 : decode_extend(r, REX_R, reg);
    if (insn->operand == OPERAND_SEGMENT || insn->operand == OPERAND_MMX)
        insn->reg = reg;
}

static void decode_immediate(struct reader *r, struct insn *insn)
{
    switch (insn->operand) {
    case OPERAND_IMM:
    case OPERAND_GPR_IMM:
    case OPERAND_DISTANCE:
        insn->imm = decode_take(r, insn->size == 8 ? 4 : insn->size);
        break;
    case OPERAND_IMM8:
    case OPERAND_GPR_IMM8:
        insn->imm = decode_take(r, 1);
        break;
    case OPERAND_IMM16:
        insn->imm = decode_take(r, 2) & 0xffff;
        break;
    case OPERAND_FRAME: /* the level in bits 23:16 */
        insn->imm = decode_take(r, 2) & 0xffff;
        insn->imm |= (decode_take(r, 1) & 0xff) << 16;
        break;
    case OPERAND_ONE:
        insn->imm = 1;
        break;
    default:
        return;
    }
    insn->has_imm = true;
}

static void decode_memory(struct reader *r, uint8_t modrm, struct insn *insn)
{
    if (address_bytes(r) == 2)
        decode_address_16(r, modrm >> 6, modrm & 7, insn);
    else
        decode_address(r, modrm >> 6, modrm & 7, insn);
}

/* The segment of the access. String instructions use ES:rDI, which no prefix overrides, and DS:rSI,
 * which a prefix may override. */
static uint8_t decode_segment(const struct reader *r, uint32_t flags, const struct insn *insn)
{
    if ((flags & (INSN_SI | INSN_DI)) == INSN_DI)
        return SEG_ES;
    if (r->override >= 0)
        return (uint8_t)r->override;
    return insn->base == GPR_RSP || insn->base == GPR_RBP ? SEG_SS : SEG_DS;
}

/* ---- One instruction ------------------------------------------------------------------------- */

static void decode_fill(const struct reader *r, const struct insn_row *row, struct insn *insn)
{
    *insn = (struct insn){
        .op = row->op,
        .size = decode_size(r, row->memory),
        .reg_size = decode_size(r, row->size),
        .write = row->flags & INSN_WRITES,
        .read = row->flags & INSN_READS,
        .to_reg = row->flags & INSN_TO_REG,
        .base = INSN_NO_REG,
        .index = INSN_NO_REG,
        .code = (uint8_t)r->code,
        .operand = row->operand,
        .lock = r->lock,
        .repeat = r->vex ? 0 : r->repeat,
        .vex = r->vex ? (r->wide ? 32 : 16) : 0,
        .vvvv = r->code == CODE_64 ? r->vvvv : r->vvvv & 7,
        .row = (uint16_t)(row - insn_rows),
        .address_mask = ~0ull >> (64 - 8 * address_bytes(r)),
    };
}

/* The checks that need the whole instruction: LOCK, register forms, and unused VEX fields. */
static enum decode_result decode_check(const struct reader *r, const struct insn_row *row,
                                       bool memory)
{
    if (row->flags & INSN_NOT_64 && r->code == CODE_64)
        return DECODE_UNDEFINED;
    if (r->lock && !(memory && row->flags & INSN_LOCKABLE))
        return DECODE_UNDEFINED;
    if (!memory && row->flags & INSN_REG_UD)
        return DECODE_UNDEFINED;
    if (!memory && row->flags & INSN_REG_OTHER)
        return DECODE_UNSUPPORTED;
    bool uses_vvvv = row->flags & INSN_VVVV || (!memory && row->flags & INSN_REG_VVVV);
    if (r->vex && ((r->vvvv && !uses_vvvv) || (r->wide && row->flags & INSN_L0)))
        return DECODE_UNDEFINED;
    return memory && row->flags & (INSN_READS | INSN_WRITES) ? DECODE_OK : DECODE_NO_MEMORY;
}

#define WITHOUT_MODRM (INSN_MOFFS | INSN_SI | INSN_DI | INSN_NO_MODRM)

enum decode_result decode(const uint8_t *bytes, unsigned count, enum code_size code,
                          struct insn *insn)
{
    struct reader r = {.bytes = bytes, .count = count, .code = code, .override = -1};
    enum decode_result out_of_bytes = count < INSN_MAX ? DECODE_TRUNCATED : DECODE_TOO_LONG;
    uint16_t opcode;
    bool legal = decode_opcode(&r, &opcode);
    if (r.short_of_bytes)
        return out_of_bytes;
    const struct insn_undefined *undefined = find_undefined(&r, opcode);
    if (!legal || is_undefined(undefined, 0xff))
        return DECODE_UNDEFINED;
    unsigned first = find_rows(opcode);
    if (!row_exists(first, opcode))
        return DECODE_UNSUPPORTED;

    uint32_t flags = insn_rows[first].flags;
    uint8_t modrm = 0;
    if (!(flags & WITHOUT_MODRM)) {
        modrm = (uint8_t)decode_take(&r, 1);
        if (r.short_of_bytes)
            return out_of_bytes;
    }
    uint8_t reg = modrm >> 3 & 7;
    if (is_undefined(undefined, (uint8_t)BIT(reg)) && !is_transaction(opcode, modrm))
        return DECODE_UNDEFINED;
    const struct insn_row *row = choose_row(&r, opcode, first, reg);
    if (!row)
        return DECODE_UNSUPPORTED;

    decode_fill(&r, row, insn);
    bool memory = modrm < 0xc0;
    if (flags & INSN_MOFFS)
        insn->disp = decode_take(&r, address_bytes(&r)) & insn->address_mask;
    else if (flags & (INSN_SI | INSN_DI))
        insn->base = flags & INSN_SI ? GPR_RSI : GPR_RDI;
    else if (flags & INSN_NO_MODRM)
        insn->base = row->op == INSN_XLAT ? GPR_RBX : INSN_NO_REG;
    else if (memory)
        decode_memory(&r, modrm, insn);
    if (row->extension == INSN_NO_EXTENSION && insn->operand != OPERAND_RAX)
        decode_register(&r, reg, insn);
    decode_immediate(&r, insn);
    if (r.short_of_bytes)
        return out_of_bytes;
    insn->segment = decode_segment(&r, flags, insn);
    insn->length = (uint8_t)r.at;
    return decode_check(&r, row, memory);
}

const char *decode_class(const uint8_t *bytes, unsigned count, enum code_size code)
{
    struct reader r = {.bytes = bytes, .count = count, .code = code, .override = -1};
    uint16_t opcode;
    (void)decode_opcode(&r, &opcode);
    return insn_class(opcode);
}

bool decode_is_iret(const uint8_t *bytes, unsigned count, enum code_size code)
{
    struct reader r = {.bytes = bytes, .count = count, .code = code, .override = -1};
    uint16_t opcode;
    return decode_opcode(&r, &opcode) && !r.short_of_bytes && opcode == OPCODE_IRET;
}
