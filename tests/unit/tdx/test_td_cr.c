/* SPDX-License-Identifier: MIT */
/*
 * CR0 and CR4 in a TD. Each bit is changed alone, and compared with what the specification says of
 * it, by its number; then random values keep what must hold whatever the value is.
 */
#include "tests/unit/support.h"

#include "arch/x86/reg_bits.h"
#include "lib/bits.h"
#include "tdx/td_cr.h"
#include "vmx/xcr0.h"

#include <stdlib.h>

#define CR0_RUNNING (CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE)

static const struct td without_pku = {.xfam = 7}, with_pku = {.xfam = 7 | XCR0_PKRU};

static enum tdx_access cr0_of_bit(unsigned bit)
{
    if (bit == 0 || bit == 5 || bit >= 32) /* clears PE while PG is 1, clears NE, reserved */
        return TDX_GP;
    return bit == 29 || bit == 30 ? TDX_VE : TDX_DIRECT; /* NW, CD */
}

static void cr0_bit_by_bit(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(tdx_cr0_write(CR0_RUNNING ^ BIT(bit)), cr0_of_bit(bit));
    /* Without paging, PE may be cleared as far as the CPU is concerned. */
    assert_int_equal(tdx_cr0_write(CR0_RUNNING & ~(CR0_PE | CR0_PG)), TDX_VE);
    assert_int_equal(tdx_cr0_write(CR0_RUNNING & ~CR0_PG), TDX_DIRECT);
    assert_int_equal(tdx_cr0_write(CR0_RUNNING | CR0_NW | CR0_CD), TDX_VE);
    /* The rules of the CPU are checked first. */
    assert_int_equal(tdx_cr0_write((CR0_RUNNING | CR0_CD) & ~CR0_NE), TDX_GP);
    assert_int_equal(tdx_cr0_write(CR0_RUNNING | CR0_NW | BIT(40)), TDX_GP);
}

/* Returns the effect of changing a bit of CR4; the comments give the SDM's names of the bits. */
static enum tdx_access cr4_of_bit(unsigned bit, bool pku)
{
    switch (bit) {
    case 6:  /* MCE, always 1 */
    case 13: /* VMXE, always 0 */
    case 14: /* SMXE, always 0 */
        return TDX_VE;
    case 22: /* PKE */
        return pku ? TDX_DIRECT : TDX_GP;
    case 12:        /* LA57 is not offered */
    case 15:        /* reserved */
    case 19:        /* KL */
    case 23 ... 63: /* CET, PKS, UINTR, reserved */
        return TDX_GP;
    default:
        return TDX_DIRECT;
    }
}

static void cr4_bit_by_bit(void **state)
{
    (void)state;
    const uint64_t offered = (BITS(11, 0) | BITS(18, 16) | BITS(22, 20)) & ~CR4_MCE;
    const uint64_t old = CR4_MCE | CR4_PAE;
    for (unsigned pku = 0; pku < 2; pku++)
        for (unsigned bit = 0; bit < 64; bit++)
            assert_int_equal(
                tdx_cr4_write(pku ? &with_pku : &without_pku, old, old ^ BIT(bit), offered),
                cr4_of_bit(bit, pku));
    assert_int_equal(tdx_cr4_write(&with_pku, old, old ^ CR4_MCE, offered | CR4_MCE), TDX_VE);
    assert_int_equal(tdx_cr4_write(&with_pku, old, (old ^ CR4_MCE) | CR4_CET, offered), TDX_GP);
}

/* A change of an owned bit is an exit and so must be refused or ignored. One of a bit that is not
 * owned must be a matter of the CPU's rules alone. */
static void owned_bits_never_change(void **state)
{
    (void)state;
    assert_int_equal(tdx_cr0_owned() & (CR0_PE | CR0_NE | CR0_NW | CR0_CD),
                     CR0_PE | CR0_NE | CR0_NW | CR0_CD);
    assert_int_equal(tdx_cr0_owned() & (CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM | CR0_PG), 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        bool owned = tdx_cr4_owned(&without_pku) & BIT(bit);
        assert_int_equal(owned, bit != 12 && cr4_of_bit(bit, false) != TDX_DIRECT);
        owned = tdx_cr4_owned(&with_pku) & BIT(bit);
        assert_int_equal(owned, bit != 12 && cr4_of_bit(bit, true) != TDX_DIRECT);
    }
    srand(1);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t value = ((uint64_t)rand() << 40) ^ ((uint64_t)rand() << 20) ^ (uint64_t)rand();
        if (i & 1)
            value &= BITS(31, 0);
        if (tdx_cr0_write(value) == TDX_DIRECT)
            assert_int_equal(value & (CR0_PE | CR0_NE | CR0_NW | CR0_CD | BITS(63, 32)),
                             CR0_PE | CR0_NE);
        if (tdx_cr4_write(&with_pku, CR4_MCE, value, ~0ull) == TDX_DIRECT)
            assert_int_equal(value & (CR4_MCE | CR4_VMXE | CR4_SMXE | CR4_CET), CR4_MCE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cr0_bit_by_bit),
        cmocka_unit_test(cr4_bit_by_bit),
        cmocka_unit_test(owned_bits_never_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
