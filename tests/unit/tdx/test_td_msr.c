/* SPDX-License-Identifier: MIT */
/*
 * The MSRs of a TD. The oracle lists, for each kind of access, the MSRs by what happens, as the ABI
 * specification's table reads from its columns; the code has one row for each MSR. Every MSR that a
 * bitmap covers is tried, and the numbers around these ranges.
 */
#include "tests/unit/support.h"

#include "arch/x86/reg_bits.h"
#include "lib/bits.h"
#include "tdx/td_features.h"
#include "tdx/td_msr.h"

#define REDUCED(pv) ((struct td){.td_ctls = TD_CTLS_REDUCE_VE, .feature_pv = (pv)})

struct range {
    uint32_t first, last;
};

/* clang-format off */
#define ONE(msr) {msr, msr}
#define END      {0, 0}

static const struct range direct_reads[] = {
    ONE(0x10), {0x48, 0x49}, {0xbc, 0xbd}, {0x10a, 0x10b}, {0x174, 0x176}, ONE(0x1a0), ONE(0x1d9),
    ONE(0x277), ONE(0x345), ONE(0x480), {0x485, 0x489}, {0x48b, 0x492}, ONE(0x600), {0x808, 0x80c},
    ONE(0x80e), {0x810, 0x827}, ONE(0x83f), ONE(0xc80), ONE(0xda0), ONE(0x1b01),
    {0xc0000080, 0xc0000082}, ONE(0xc0000084), {0xc0000100, 0xc0000103}, END,
};

static const struct range direct_writes[] = {
    {0x48, 0x49}, ONE(0x10b), {0x174, 0x176}, ONE(0x1d9), ONE(0x277), ONE(0x600),
    {0x808, 0x80c}, ONE(0x80e), {0x810, 0x827}, ONE(0x83f), ONE(0xda0), ONE(0x1b01),
    {0xc0000080, 0xc0000082}, ONE(0xc0000084), {0xc0000100, 0xc0000103}, END,
};

/* #GP for reads and writes: MSRs of features that this TD does not have, and reserved ones. */
static const struct range faults[] = {
    ONE(0x87), {0x8c, 0x8f}, {0x98, 0x9b}, ONE(0x9e), ONE(0x195), ONE(0x276), ONE(0x500),
    ONE(0xd90), ONE(0xd93), /* SGX, SMM, MPX, PASID */
    {0xc1, 0xc8}, {0x186, 0x18d}, {0x1a6, 0x1a7}, {0x309, 0x310}, ONE(0x329), {0x38d, 0x392},
    {0x3f1, 0x3f2}, {0x3f6, 0x3f7}, {0x4c1, 0x4c8}, /* PERFMON */
    ONE(0xe1), ONE(0x122), {0x1c4, 0x1c5}, ONE(0x6e1), {0x1f8, 0x1fa}, {0x981, 0x984},
    {0x985, 0x98a}, /* WAITPKG, TSX, XFD, PKS, DCA, TME, user interrupts */
    {0x560, 0x561}, {0x570, 0x572}, {0x580, 0x587}, /* PT */
    ONE(0x6a0), ONE(0x6a2), {0x6a4, 0x6a8}, /* CET */
    {0x1200, 0x12ff}, {0x14ce, 0x14cf}, {0x1500, 0x16ff}, /* LBR */
    {0x800, 0x801}, {0x804, 0x807}, {0x829, 0x82e}, ONE(0x831), {0x840, 0x8ff}, /* reserved */
    END,
};

static const struct range faulting_writes[] = {
    ONE(0xbd), ONE(0x10a), ONE(0x345), {0x480, 0x492}, END};
/* clang-format on */

static bool is_in(const struct range *list, uint32_t msr)
{
    for (; list->first; list++)
        if (msr >= list->first && msr <= list->last)
            return true;
    return false;
}

static enum tdx_access oracle(uint32_t msr, bool write)
{
    if (is_in(faults, msr) || (write && is_in(faulting_writes, msr)))
        return TDX_GP;
    return is_in(write ? direct_writes : direct_reads, msr) ? TDX_DIRECT : TDX_VE;
}

static void compare(const struct td *td, uint32_t first, uint32_t last)
{
    for (uint64_t msr = first; msr <= last; msr++)
        for (unsigned write = 0; write < 2; write++)
            if (tdx_msr_access(td, (uint32_t)msr, write) != oracle((uint32_t)msr, write))
                fail_msg("MSR %#lx, %s: %d, and not %d", msr, write ? "WRMSR" : "RDMSR",
                         tdx_msr_access(td, (uint32_t)msr, write), oracle((uint32_t)msr, write));
}

static void every_msr(void **state)
{
    (void)state;
    const struct td td = {0};
    compare(&td, 0, 0x3000); /* beyond the low bitmap, all are #VE */
    compare(&td, 0x40000000, 0x40001000);
    compare(&td, 0xbffffff0, 0xc0003000);
    compare(&td, 0xfffffff0, 0xffffffff);
}

/* With REDUCE_VE, the MSRs of a feature are #GP, unless the TD has asked for the feature. */
static void fewer_exceptions(void **state)
{
    (void)state;
    static const struct {
        uint32_t msr;
        uint64_t pv;
    } rows[] = {
        {0xcf, BIT(0)},  {0x198, BIT(2)},          {0x199, BIT(2)}, {0x179, BIT(3)},
        {0x17b, BIT(3)}, {0x400, BIT(3)},          {0x47f, BIT(3)}, {0x280, BIT(3)},
        {0xfe, BIT(4)},  {0x200, BIT(4)},          {0x21f, BIT(4)}, {0x250, BIT(4)},
        {0x259, BIT(4)}, {0x26f, BIT(4)},          {0x2ff, BIT(4)}, {0x6e0, BIT(11)},
        {0x19a, BIT(8)}, {0xc90, BIT(6) | BIT(7)},
    };
    const struct td usual = {.feature_pv = 0};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (unsigned write = 0; write < 2; write++) {
            const struct td none = REDUCED(0), own = REDUCED(rows[i].pv),
                            others = REDUCED(~rows[i].pv);
            assert_int_equal(tdx_msr_access(&usual, rows[i].msr, write), TDX_VE);
            assert_int_equal(tdx_msr_access(&none, rows[i].msr, write), TDX_GP);
            assert_int_equal(tdx_msr_access(&others, rows[i].msr, write), TDX_GP);
            assert_int_equal(tdx_msr_access(&own, rows[i].msr, write), TDX_VE);
        }
    const struct td none = REDUCED(0); /* these belong to no such feature */
    static const uint32_t others[] = {0x1b, 0x3a, 0x8b, 0x802, 0x830, 0x832, 0x838, 0xc0000083};
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
        assert_int_equal(tdx_msr_access(&none, others[i], true), TDX_VE);
    compare(&none, 0x800, 0x8ff);
    compare(&none, 0xc0000000, 0xc0001fff);
}

static void values_of_the_module(void **state)
{
    (void)state;
    static const struct {
        uint32_t msr;
        uint64_t value;
    } rows[] = {{0xbd, 1},  {0x10a, 0},      {0x1d9, 0}, {0x345, 0},
                {0xda0, 0}, {0x1a0, 0x1801}, {0x480, 0}, {0x492, 0}};
    uint64_t value;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_true(tdx_msr_read(rows[i].msr, &value));
        assert_int_equal(value, rows[i].value);
    }
    static const uint32_t of_the_cpu[] = {0x10,  0x48,  0x174, 0x277,
                                          0x47f, 0x493, 0x808, 0xc0000080};
    for (unsigned i = 0; i < ARRAY_SIZE(of_the_cpu); i++)
        assert_false(tdx_msr_read(of_the_cpu[i], &value));
}

/* IA32_EFER: only SCE changes, and LMA is ignored. Every single bit is tried. */
static void efer(void **state)
{
    (void)state;
    const struct td td = {0};
    const uint64_t old = EFER_LME | EFER_LMA | EFER_NXE;
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(tdx_msr_write(&td, MSR_EFER, old, old ^ BIT(bit)),
                         bit == 0 || bit == 10 ? TDX_DIRECT : TDX_VE);
}

static void xss_and_debugctl(void **state)
{
    (void)state;
    const struct td td = {.xfam = 0xe7};
    assert_int_equal(tdx_msr_write(&td, 0xda0, 0, 0), TDX_DIRECT);
    assert_int_equal(tdx_msr_write(&td, 0xda0, 0, BIT(8)), TDX_GP);
    assert_int_equal(tdx_msr_write(&td, 0xda0, 0, BIT(63)), TDX_GP);
    assert_int_equal(tdx_msr_write(&td, 0x1d9, 0, 0), TDX_DIRECT);
    assert_int_equal(tdx_msr_write(&td, 0x1d9, 0, BIT(6)), TDX_VE); /* TR without BTS */
    assert_int_equal(tdx_msr_write(&td, 0x1d9, 0, BIT(6) | BIT(7)), TDX_DIRECT);
    static const uint8_t reserved[] = {2, 5, 16, 31, 63};
    for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++)
        assert_int_equal(tdx_msr_write(&td, 0x1d9, 0, BIT(reserved[i]) | BIT(6)), TDX_GP);
    assert_int_equal(tdx_msr_write(&td, MSR_STAR, 0, ~0ull), TDX_DIRECT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_msr),
        cmocka_unit_test(fewer_exceptions),
        cmocka_unit_test(values_of_the_module),
        cmocka_unit_test(efer),
        cmocka_unit_test(xss_and_debugctl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
