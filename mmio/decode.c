/*
 * The instruction decoder: prefixes, opcode, ModRM and SIB, displacement, immediate, in the order
 * in which they stand (SDM 2, 2.1). Called by the emulator on bytes that it fetched; the bytes are
 * the guest's and may be anything. Pure; touches nothing but its arguments.
 */
#include "mmio/decode.h"

#include "lib/bits.h"
#include "lib/string.h"

/* ---- The table of forms ---------------------------------------------------------------------- */

enum {
    FORM_KNOWN = 1 << 0,
    FORM_MODRM = 1 << 1,
    FORM_MOFFS = 1 << 2,       /* the address follows the opcode, the register is the accumulator */
    FORM_IMM = 1 << 3,         /* an immediate of the operand's size, at most four bytes */
    FORM_STORE = 1 << 4,       /* the memory operand is the destination */
    FORM_EXTENSION_0 = 1 << 5, /* ModRM.reg must be 0 */
    FORM_64_ONLY = 1 << 6,     /* another instruction in 16 and 32-bit code */
};

enum {
    SIZE_1 = 1,
    SIZE_2 = 2,
    SIZE_OPERAND = 16,       /* 2, 4 or 8 by prefixes */
    SIZE_OPERAND_MAX_4 = 32, /* the same, but 4 for 8 */
};

struct form {
    uint8_t flags;
    uint8_t op;
    uint8_t memory; /* sizes */
    uint8_t reg;
};

#define LOAD  (FORM_KNOWN | FORM_MODRM)
#define STORE (FORM_KNOWN | FORM_MODRM | FORM_STORE)
#define MOFFS (FORM_KNOWN | FORM_MOFFS)
#define IMM   (FORM_KNOWN | FORM_MODRM | FORM_STORE | FORM_IMM | FORM_EXTENSION_0)

static const struct form forms[2][256] = {
    {
        /* clang-format off */
        [0x63] = {LOAD | FORM_64_ONLY, INSN_SIGN_EXTEND, SIZE_OPERAND_MAX_4, SIZE_OPERAND},
        [0x88] = {STORE,              INSN_MOV, SIZE_1,       SIZE_1},
        [0x89] = {STORE,              INSN_MOV, SIZE_OPERAND, SIZE_OPERAND},
        [0x8a] = {LOAD,               INSN_MOV, SIZE_1,       SIZE_1},
        [0x8b] = {LOAD,               INSN_MOV, SIZE_OPERAND, SIZE_OPERAND},
        [0xa0] = {MOFFS,              INSN_MOV, SIZE_1,       SIZE_1},
        [0xa1] = {MOFFS,              INSN_MOV, SIZE_OPERAND, SIZE_OPERAND},
        [0xa2] = {MOFFS | FORM_STORE, INSN_MOV, SIZE_1,       SIZE_1},
        [0xa3] = {MOFFS | FORM_STORE, INSN_MOV, SIZE_OPERAND, SIZE_OPERAND},
        [0xc6] = {IMM,                INSN_MOV, SIZE_1,       SIZE_1},
        [0xc7] = {IMM,                INSN_MOV, SIZE_OPERAND, SIZE_OPERAND},
    },
    { /* after 0f */
        [0xb6] = {LOAD, INSN_ZERO_EXTEND, SIZE_1, SIZE_OPERAND},
        [0xb7] = {LOAD, INSN_ZERO_EXTEND, SIZE_2, SIZE_OPERAND},
        [0xbe] = {LOAD, INSN_SIGN_EXTEND, SIZE_1, SIZE_OPERAND},
        [0xbf] = {LOAD, INSN_SIGN_EXTEND, SIZE_2, SIZE_OPERAND},
        /* clang-format on */
    },
};

/* ---- Reading bytes --------------------------------------------------------------------------- */

struct reader {
    const uint8_t *bytes;
    unsigned count;
    unsigned at;
    bool short_of_bytes;
    enum code_size code;
    uint8_t rex;
    bool operand_prefix, address_prefix, lock;
    int override; /* enum segment or -1 */
};

/* The next `size` bytes, sign-extended. Once they run out, zeros come and nothing else matters. */
static uint64_t take(struct reader *r, unsigned size)
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

/* In 64-bit code the overrides of ES, CS, SS and DS mean nothing (SDM 2, 2.2.1). */
static void override(struct reader *r, int segment)
{
    if (r->code != CODE_64 || segment >= SEG_FS)
        r->override = segment;
}

/* Reads the prefixes; returns the first byte that is none. REX counts only right before the opcode.
 */
static uint8_t take_prefixes(struct reader *r)
{
    for (;;) {
        uint8_t byte = (uint8_t)take(r, 1);
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
            override(r, (byte >> 3) & 3);
            break;
        case 0x64:
        case 0x65:
            override(r, byte == 0x64 ? SEG_FS : SEG_GS);
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
        case 0xf2: /* no meaning for these instructions, but for hints */
        case 0xf3:
            break;
        default:
            return byte;
        }
        r->rex = 0;
    }
}

/* ---- Addressing forms ------------------------------------------------------------------------ */

#define REX_W BIT(3)
#define REX_R BIT(2)
#define REX_X BIT(1)
#define REX_B BIT(0)

static uint8_t extend(const struct reader *r, uint64_t bit, uint8_t reg)
{
    return r->rex & bit ? reg | 8 : reg;
}

/* SDM 2, table 2-1. */
static void take_address_16(struct reader *r, uint8_t mod, uint8_t rm, struct insn *insn)
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
        insn->disp = take(r, mod);
}

/* SDM 2, tables 2-2 and 2-3, and 2.2.1.6 for RIP. */
static void take_address(struct reader *r, uint8_t mod, uint8_t rm, struct insn *insn)
{
    uint8_t base = rm;
    if (rm == 4) {
        uint8_t sib = (uint8_t)take(r, 1);
        uint8_t index = extend(r, REX_X, (sib >> 3) & 7);
        insn->index = index == GPR_RSP ? INSN_NO_REG : index;
        insn->shift = sib >> 6;
        base = sib & 7;
    }
    insn->base = extend(r, REX_B, base);
    unsigned disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    if (mod == 0 && base == 5) {
        insn->base = rm == 5 && r->code == CODE_64 ? INSN_RIP : INSN_NO_REG;
        disp = 4;
    }
    if (disp)
        insn->disp = take(r, disp);
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

static uint8_t size_of(uint8_t form_size, unsigned operand)
{
    switch (form_size) {
    case SIZE_OPERAND:
        return (uint8_t)operand;
    case SIZE_OPERAND_MAX_4:
        return operand == 8 ? 4 : (uint8_t)operand;
    default:
        return form_size;
    }
}

/* Without REX the byte registers 4 to 7 are AH, CH, DH, BH. */
static void set_register(const struct reader *r, uint8_t reg, struct insn *insn)
{
    insn->high_byte = insn->reg_size == 1 && !r->rex && reg >= 4;
    insn->reg = insn->high_byte ? reg - 4 : extend(r, REX_R, reg);
}

/* ---- One instruction ------------------------------------------------------------------------- */

static const struct form *take_opcode(struct reader *r)
{
    uint8_t opcode = take_prefixes(r);
    bool two = opcode == 0x0f;
    if (two)
        opcode = (uint8_t)take(r, 1);
    const struct form *form = &forms[two][opcode];
    bool known = form->flags & FORM_KNOWN;
    if (form->flags & FORM_64_ONLY && r->code != CODE_64)
        known = false;
    return known ? form : NULL;
}

enum decode_result decode(const uint8_t *bytes, unsigned count, enum code_size code,
                          struct insn *insn)
{
    struct reader r = {.bytes = bytes, .count = count, .code = code, .override = -1};
    enum decode_result out_of_bytes = count < INSN_MAX ? DECODE_TRUNCATED : DECODE_TOO_LONG;
    const struct form *form = take_opcode(&r);
    if (r.short_of_bytes)
        return out_of_bytes;
    if (!form)
        return DECODE_UNSUPPORTED;

    unsigned operand = operand_bytes(&r);
    unsigned address = address_bytes(&r);
    memset(insn, 0, sizeof(*insn));
    insn->op = form->op;
    insn->code = (uint8_t)code;
    insn->size = size_of(form->memory, operand);
    insn->reg_size = size_of(form->reg, operand);
    insn->write = form->flags & FORM_STORE;
    insn->base = insn->index = INSN_NO_REG;
    insn->address_mask = ~0ull >> (64 - 8 * address);

    bool memory = true;
    bool undefined = r.lock;
    bool unsupported = false;
    if (form->flags & FORM_MODRM) {
        uint8_t modrm = (uint8_t)take(&r, 1);
        uint8_t mod = modrm >> 6, reg = (modrm >> 3) & 7, rm = modrm & 7;
        memory = mod != 3;
        if (memory && address == 2)
            take_address_16(&r, mod, rm, insn);
        else if (memory)
            take_address(&r, mod, rm, insn);
        set_register(&r, reg, insn);
        if (form->flags & FORM_EXTENSION_0 && reg) {
            unsupported = modrm == 0xf8; /* XABORT and XBEGIN */
            undefined = !unsupported;
        }
    } else {
        insn->disp = take(&r, address) & insn->address_mask;
    }
    if (form->flags & FORM_IMM) {
        insn->has_imm = true;
        insn->imm = take(&r, insn->size == 8 ? 4 : insn->size);
    }
    if (r.short_of_bytes)
        return out_of_bytes;

    bool stack = insn->base == GPR_RSP || insn->base == GPR_RBP;
    insn->segment = r.override >= 0 ? (uint8_t)r.override : stack ? SEG_SS : SEG_DS;
    insn->length = (uint8_t)r.at;
    if (unsupported)
        return DECODE_UNSUPPORTED;
    if (undefined)
        return DECODE_UNDEFINED;
    return memory ? DECODE_OK : DECODE_NO_MEMORY;
}
