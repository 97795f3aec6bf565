/* SPDX-License-Identifier: MIT */
/* Arithmetic by the host's own instructions. Called by the emulator. Pure. */
#include "mmio/alu.h"

#include "lib/bits.h"

/* Executes one instruction between loading and storing the flags. RSP first skips the red zone, the
 * 128 bytes below the stack pointer that hosted code may use. `flags` must not be in memory,
 * because RSP changes. */
#define RUN(text)                                                                      \
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq %[others], (%%rsp)\n\t" \
                     "orq %[flags], (%%rsp)\n\tpopfq\n\t" text                         \
                     "\n\tpushfq\n\tpopq %[flags]\n\tlea 128(%%rsp), %%rsp"            \
                     : [flags] "+&r"(flags), [a] "+&a"(a), [d] "+&d"(d)                \
                     : [b] "r"(b), "c"(count), [others] "i"(~(int)ALU_FLAGS)           \
                     : "cc", "memory")

/* RUN() with the instruction's suffix and operands for each operand size. */
#define SIZES_2_TO_8(text, w, l, q) \
    switch (size) {                 \
    case 2:                         \
        RUN(text "w " w);           \
        break;                      \
    case 4:                         \
        RUN(text "l " l);           \
        break;                      \
    default:                        \
        RUN(text "q " q);           \
    }
#define SIZES(text, b, w, l, q) \
    if (size == 1)              \
        RUN(text "b " b);       \
    else                        \
        SIZES_2_TO_8(text, w, l, q)

#define CASE(op, run) \
    case INSN_##op:   \
        run break;
#define BINARY(text) SIZES(text, "%b[b], %b[a]", "%w[b], %w[a]", "%k[b], %k[a]", "%[b], %[a]")
#define UNARY(text)  SIZES(text, "%b[a]", "%w[a]", "%k[a]", "%[a]")
#define SHIFT(text)  SIZES(text, "%%cl, %b[a]", "%%cl, %w[a]", "%%cl, %k[a]", "%%cl, %[a]")
#define WIDE(text)   SIZES(text, "%b[b]", "%w[b]", "%k[b]", "%[b]")
#define PLAIN(text)  SIZES_2_TO_8(text, "%w[b], %w[a]", "%k[b], %k[a]", "%[b], %[a]")
#define DOUBLE(text) \
    SIZES_2_TO_8(text, "%%cl, %w[b], %w[a]", "%%cl, %k[b], %k[a]", "%%cl, %[b], %[a]")

static bool alu_is_negative(uint64_t value, unsigned size)
{
    return value >> (8 * size - 1) & 1;
}

/* Whether the quotient does not fit into `size` bytes, or the divisor is 0. The dividend of bytes
 * is AX (SDM 2, DIV and IDIV). */
static bool alu_divide_error(bool is_signed, unsigned size, const struct alu *o)
{
    uint64_t divisor = alu_truncate(o->b, size);
    uint64_t lower = alu_truncate(o->a, size);
    uint64_t upper = alu_truncate(size == 1 ? o->a >> 8 : o->c, size);
    uint64_t limit = ~0ull >> (64 - 8 * size);
    if (is_signed) {
        bool minus = alu_is_negative(upper, size) != alu_is_negative(divisor, size);
        if (alu_is_negative(upper, size)) { /* the magnitude of the dividend */
            lower = alu_truncate(~lower + 1, size);
            upper = alu_truncate(~upper + !lower, size);
        }
        if (alu_is_negative(divisor, size))
            divisor = alu_truncate(~divisor + 1, size);
        limit = (limit >> 1) + minus;
    }
    if (upper >= divisor) /* also true for a divisor of 0 */
        return true;
    if (!is_signed)
        return false;
    /* The magnitude of the quotient has `size` bytes here. It exceeds the limit if the magnitude of
     * the dividend is at least divisor * (limit + 1), a product of twice the size. */
    unsigned __int128 dividend = (unsigned __int128)upper << (8 * size) | lower;
    return dividend >= (unsigned __int128)divisor * ((unsigned __int128)limit + 1);
}

/* ADCX and ADOX: an addition with one flag as the carry, which changes no other. */
static uint64_t alu_add_by(uint64_t flag, unsigned size, uint64_t a, uint64_t b, uint64_t *flags)
{
    unsigned __int128 sum = alu_truncate(a, size);
    sum += alu_truncate(b, size);
    sum += !!(*flags & flag);
    *flags = (*flags & ~flag) | (sum >> (8 * size) & 1 ? flag : 0);
    return (uint64_t)sum;
}

bool alu(enum insn_op op, unsigned size, struct alu *operands)
{
    struct alu *o = operands;
    uint64_t a = o->a, b = o->b, d = o->c, flags = o->flags;
    uint64_t count = op == INSN_SHLD || op == INSN_SHRD ? o->c : o->b;
    if ((op == INSN_DIV || op == INSN_IDIV) && alu_divide_error(op == INSN_IDIV, size, o))
        return false;
    /* clang-format off */
    switch (op) {
    CASE(ADD, BINARY("add"))
    CASE(OR, BINARY("or"))
    CASE(ADC, BINARY("adc"))
    CASE(SBB, BINARY("sbb"))
    CASE(AND, BINARY("and"))
    CASE(SUB, BINARY("sub"))
    CASE(XOR, BINARY("xor"))
    CASE(CMP, BINARY("cmp"))
    CASE(TEST, BINARY("test"))
    CASE(IMUL, PLAIN("imul"))
    CASE(NOT, UNARY("not"))
    CASE(NEG, UNARY("neg"))
    CASE(INC, UNARY("inc"))
    CASE(DEC, UNARY("dec"))
    CASE(BT, PLAIN("bt"))
    CASE(BTS, PLAIN("bts"))
    CASE(BTR, PLAIN("btr"))
    CASE(BTC, PLAIN("btc"))
    CASE(ROL, SHIFT("rol"))
    CASE(ROR, SHIFT("ror"))
    CASE(RCL, SHIFT("rcl"))
    CASE(RCR, SHIFT("rcr"))
    case INSN_SHL_ALIAS:
    CASE(SHL, SHIFT("shl"))
    CASE(SHR, SHIFT("shr"))
    CASE(SAR, SHIFT("sar"))
    CASE(SHLD, DOUBLE("shld"))
    CASE(SHRD, DOUBLE("shrd"))
    CASE(MUL, WIDE("mul"))
    CASE(IMUL_WIDE, WIDE("imul"))
    CASE(DIV, WIDE("div"))
    CASE(IDIV, WIDE("idiv"))
    CASE(BSF, PLAIN("bsf"))
    CASE(BSR, PLAIN("bsr"))
    CASE(TZCNT, PLAIN("tzcnt"))
    CASE(LZCNT, PLAIN("lzcnt"))
    CASE(POPCNT, PLAIN("popcnt"))
    CASE(CRC32, SIZES("crc32", "%b[b], %k[a]", "%w[b], %k[a]", "%k[b], %k[a]", "%[b], %[a]"))
    CASE(ADCX, a = alu_add_by(ALU_CF, size, a, b, &flags);)
    CASE(ADOX, a = alu_add_by(ALU_OF, size, a, b, &flags);)
    default:
        return false;
    }
    /* clang-format on */
    o->a = a;
    if (op >= INSN_MUL)
        o->c = d;
    o->flags = flags & ALU_FLAGS;
    return true;
}

bool alu_condition(unsigned condition, uint64_t flags)
{
    bool carry = flags & ALU_CF, zero = flags & ALU_ZF, sign = flags & ALU_SF;
    bool overflow = flags & ALU_OF, parity = flags & ALU_PF;
    const bool holds[8] = {overflow,
                           carry,
                           zero,
                           carry || zero,
                           sign,
                           parity,
                           sign != overflow,
                           zero || sign != overflow};
    return holds[condition >> 1 & 7] != (condition & 1);
}
