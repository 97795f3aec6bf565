/* SPDX-License-Identifier: MIT */
/*
 * Where arithmetic on the host's own ALU could hurt the host: divisions whose quotient does not
 * fit. Each must be refused, and none that fits; at the borders of every size, and everywhere for
 * bytes. Conditions against what SETcc says.
 */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "mmio/alu.h"

#include <stdlib.h>

typedef __int128 wide;

static wide sign_extended(uint64_t value, unsigned size)
{
    unsigned unused = 64 - 8 * size;
    return (int64_t)(value << unused) >> unused;
}

/* Divides and compares with the same in 128 bits; `dividend` has twice the size. */
static void divide(unsigned size, bool is_signed, unsigned __int128 dividend, uint64_t divisor)
{
    unsigned bits = 8 * size;
    uint64_t mask = ~0ull >> (64 - bits);
    struct alu o = {.a = (uint64_t)dividend, .b = divisor, .c = (uint64_t)(dividend >> bits)};
    if (size == 1)
        o.a &= 0xffff;
    bool done = alu(is_signed ? INSN_IDIV : INSN_DIV, size, &o);
    uint64_t quotient = o.a & mask, rest = size == 1 ? o.a >> 8 & 0xff : o.c & mask;
    if (!(divisor & mask)) {
        assert_false(done);
        return;
    }
    if (!is_signed) {
        unsigned __int128 q = dividend / (divisor & mask);
        assert_int_equal(done, q <= mask);
        assert_true(!done || (q == quotient && dividend % (divisor & mask) == rest));
        return;
    }
    unsigned unused = 128 - 2 * bits;
    wide n = (wide)(dividend << unused) >> unused, d = sign_extended(divisor, size);
    bool overflows = d == -1 && n == (wide)((unsigned __int128)1 << 127);
    wide q = overflows ? 0 : n / d, limit = (wide)(mask >> 1);
    bool fits = !overflows && q <= limit && q >= -limit - 1;
    assert_int_equal(done, fits);
    assert_true(!done ||
                (q == sign_extended(quotient, size) && n % d == sign_extended(rest, size)));
}

static void divisions_of_bytes(void **state)
{
    (void)state;
    for (unsigned dividend = 0; dividend < 0x10000; dividend += 3)
        for (unsigned divisor = 0; divisor < 0x100; divisor++) {
            divide(1, false, dividend, divisor);
            divide(1, true, dividend, divisor);
        }
}

/* Around the quotients that just fit, with every kind of divisor. */
static void divisions_at_the_border(void **state)
{
    (void)state;
    static const uint64_t kinds[] = {0,          1,          2,      3,          0x7f,
                                     0x80,       0x7fff,     0x8000, 0x7fffffff, 0x80000000,
                                     ~0ull >> 1, 1ull << 63, ~0ull,  ~0ull - 1};
    for (unsigned size = 1; size <= 8; size *= 2) {
        unsigned bits = 8 * size;
        unsigned __int128 full =
            size == 8 ? ~(unsigned __int128)0 : ((unsigned __int128)1 << 2 * bits) - 1;
        for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
            for (unsigned j = 0; j < ARRAY_SIZE(kinds); j++)
                for (int rest = -2; rest <= 2; rest++) {
                    wide d = sign_extended(kinds[i], size), q = sign_extended(kinds[j], size);
                    uint64_t mask = ~0ull >> (64 - bits);
                    divide(size, true, (unsigned __int128)(q * d + rest) & full, kinds[i]);
                    divide(size, true, (unsigned __int128)((q + 1) * d + rest) & full, kinds[i]);
                    divide(size, true, (unsigned __int128)((q - 1) * d + rest) & full, kinds[i]);
                    unsigned __int128 u = (unsigned __int128)(kinds[i] & mask) * (kinds[j] & mask);
                    divide(size, false, (u + (unsigned __int128)(wide)rest) & full, kinds[i]);
                    divide(size, false, (u + (kinds[i] & mask)) & full, kinds[i]);
                }
    }
}

#define SETCC(n, name)                                                                          \
    case n:                                                                                     \
        __asm__("lea -128(%%rsp), %%rsp; push %1; popfq; set" name " %0; lea 128(%%rsp), %%rsp" \
                : "=q"(holds)                                                                   \
                : "r"(flags)                                                                    \
                : "cc");                                                                        \
        break;

static void conditions(void **state)
{
    (void)state;
    static const uint64_t bits[] = {ALU_CF, ALU_PF, ALU_ZF, ALU_SF, ALU_OF};
    for (unsigned set = 0; set < 32; set++)
        for (unsigned condition = 0; condition < 16; condition++) {
            uint64_t flags = 0x202;
            bool holds = false;
            for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
                flags |= set >> i & 1 ? bits[i] : 0;
            switch (condition) {
                SETCC(0, "o")
                SETCC(1, "no")
                SETCC(2, "b")
                SETCC(3, "nb")
                SETCC(4, "z")
                SETCC(5, "nz")
                SETCC(6, "be")
                SETCC(7, "nbe")
                SETCC(8, "s")
                SETCC(9, "ns")
                SETCC(10, "p")
                SETCC(11, "np")
                SETCC(12, "l")
                SETCC(13, "nl")
                SETCC(14, "le")
                SETCC(15, "nle")
            }
            assert_int_equal(alu_condition(condition, flags), holds);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divisions_of_bytes),
        cmocka_unit_test(divisions_at_the_border),
        cmocka_unit_test(conditions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
