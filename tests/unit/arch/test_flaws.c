/* SPDX-License-Identifier: MIT */
/* Which flaws of speculation a CPU has, by what it says and by its model, and what follows. */
#include "tests/unit/support.h"

#include "arch/x86/flaws.h"

#include <string.h>

#define F(name) (1u << FLAW_##name)
#define ALWAYS  (F(SPECTRE_V1) | F(SPECTRE_V2))
#define OLD     (ALWAYS | F(L1TF) | F(MDS) | F(SSB) | F(ITLB_MULTIHIT)) /* nothing is said */

#define MD_CLEAR  (1u << 10)
#define IBRS      (1u << 26)
#define L1D_FLUSH (1u << 28)
#define RTM       (1u << 11)
#define AVX       (1u << 28)
#define RDRAND    (1u << 30)

static const struct row {
    const char *what;
    uint8_t model, stepping;
    uint32_t ebx, edx, ecx;
    uint64_t cap;
    uint32_t flaws, actions;
    unsigned l1tf_cache_bits;
} rows[] = {
    {"Westmere, as it was sold", 0x25, 2, 0, 0, 0, 0, OLD, DO_L1D_FLUSH_READ | DO_RSB_FILL, 44},
    {"Ivy Bridge with microcode", 0x3a, 9, 0, MD_CLEAR | IBRS | L1D_FLUSH, AVX | RDRAND, 0,
     OLD | F(SRBDS) | F(VMSCAPE), DO_L1D_FLUSH_MSR | DO_VERW | DO_RSB_FILL | DO_IBPB, 44},
    {"Skylake X without microcode", 0x55, 4, RTM, 0, AVX | RDRAND, 0,
     OLD | F(MMIO) | F(RETBLEED) | F(GDS) | F(VMSCAPE) | F(TAA), DO_L1D_FLUSH_READ | DO_RSB_FILL,
     40},
    {"Skylake X with it", 0x55, 4, RTM, MD_CLEAR | IBRS | L1D_FLUSH, AVX | RDRAND, 0x4 | 1 << 25,
     OLD | F(MMIO) | F(RETBLEED) | F(GDS) | F(VMSCAPE) | F(TAA),
     DO_L1D_FLUSH_MSR | DO_VERW | DO_RSB_FILL | DO_IBPB | DO_IBRS_AT_EXIT | DO_CLEAR_GPRS |
         DO_KEEP_MICROCODE,
     40},
    {"Cascade Lake", 0x55, 7, 0, MD_CLEAR | IBRS | L1D_FLUSH, AVX | RDRAND, 0x2b,
     ALWAYS | F(SSB) | F(ITLB_MULTIHIT) | F(MMIO) | F(RETBLEED) | F(GDS) | F(ITS) | F(VMSCAPE) |
         F(BHI),
     DO_VERW | DO_IBPB | DO_IBRS_ALWAYS, 0},
    {"Ice Lake, as Bochs says", 0x7e, 5, 0, IBRS | L1D_FLUSH, AVX | RDRAND, 0x1f,
     ALWAYS | F(MDS) | F(ITLB_MULTIHIT) | F(MMIO) | F(SRBDS) | F(RETBLEED) | F(GDS) | F(ITS) |
         F(BHI),
     DO_IBPB | DO_IBRS_ALWAYS, 0},
    {"Goldmont Plus", 0x7a, 8, 0, MD_CLEAR | IBRS, RDRAND, 1u << 28, ALWAYS | F(SSB) | F(RFDS),
     DO_VERW | DO_RSB_FILL | DO_IBPB, 0},
    {"Goldmont Plus that says no", 0x7a, 8, 0, IBRS, RDRAND, 1u << 27, ALWAYS | F(SSB),
     DO_RSB_FILL | DO_IBPB, 0},
    {"Bonnell, in order", 0x1c, 10, 0, 0, 0, 0, 0, 0, 0},
    {"all is said", 0xbd, 1, 0, IBRS | MD_CLEAR | L1D_FLUSH, AVX | RDRAND,
     0x400000000c10e17bull | 2, ALWAYS, DO_IBPB | DO_IBRS_ALWAYS, 0},
    {"TSX that can be switched off", 0xbd, 1, RTM, 0, 0, 0x40000000041061fbull & ~0x100ull,
     ALWAYS | F(TAA), DO_TSX_OFF, 0},
};

static struct flaw_input input_of(const struct row *row)
{
    return (struct flaw_input){.intel = true,
                               .family = 6,
                               .model = row->model,
                               .stepping = row->stepping,
                               .physical_bits = 40,
                               .cpuid7_ebx = row->ebx,
                               .cpuid7_edx = row->edx,
                               .cpuid1_ecx = row->ecx,
                               .arch_capabilities = row->cap};
}

static void models(void **state)
{
    (void)state;
    for (const struct row *row = rows; row < rows + sizeof(rows) / sizeof(*rows); row++) {
        struct flaw_input in = input_of(row);
        struct flaw_verdict v;
        flaws_decide(&in, MITIGATIONS_AUTO, &v);
        if (v.flaws != row->flaws || v.actions != row->actions)
            print_error("%s: flaws %#x, not %#x; actions %#x, not %#x\n", row->what, v.flaws,
                        row->flaws, v.actions, row->actions);
        assert_int_equal(v.flaws, row->flaws);
        assert_int_equal(v.actions, row->actions);
        assert_int_equal(v.l1tf_cache_bits, row->l1tf_cache_bits);
        flaws_decide(&in, MITIGATIONS_OFF, &v);
        assert_int_equal(v.flaws, row->flaws); /* they are told of nevertheless */
        assert_int_equal(v.actions | v.l1tf_cache_bits, 0);
    }
}

/* Each bit that says "no" takes its flaw away, and no other. */
static void each_bit_counts(void **state)
{
    (void)state;
    static const struct {
        uint64_t cap;
        uint32_t flaw;
    } bits[] = {
        {1ull << 0, F(L1TF)},          {1ull << 4, F(SSB)},  {1ull << 5, F(MDS)},
        {1ull << 6, F(ITLB_MULTIHIT)}, {1ull << 8, F(TAA)},  {7ull << 13, F(MMIO)},
        {1ull << 20, F(BHI)},          {1ull << 26, F(GDS)}, {1ull << 62, F(ITS)},
    };
    const struct row cascade = {.model = 0x55, .stepping = 7, .ebx = RTM, .ecx = AVX, .cap = 2};
    struct flaw_input in = input_of(&cascade);
    struct flaw_verdict all, v;
    flaws_decide(&in, MITIGATIONS_AUTO, &all);
    for (unsigned i = 0; i < sizeof(bits) / sizeof(*bits); i++) {
        in.arch_capabilities = 2 | bits[i].cap;
        flaws_decide(&in, MITIGATIONS_AUTO, &v);
        assert_true(all.flaws & bits[i].flaw);
        assert_int_equal(v.flaws, all.flaws & ~bits[i].flaw);
    }
    in.arch_capabilities = 2 | 3ull << 13; /* two of three are not enough */
    flaws_decide(&in, MITIGATIONS_AUTO, &v);
    assert_int_equal(v.flaws, all.flaws);
}

static void messages(void **state)
{
    (void)state;
    static const char *const begins[] = {"Not affected", "Mitigation: ", "Vulnerable"};
    char text[160];
    for (unsigned wanted = MITIGATIONS_OFF; wanted <= MITIGATIONS_FORCE; wanted++) {
        for (const struct row *row = rows; row < rows + sizeof(rows) / sizeof(*rows); row++) {
            struct flaw_input in = input_of(row);
            struct flaw_verdict v;
            flaws_decide(&in, (enum mitigations)wanted, &v);
            for (unsigned f = 0; f < FLAW_COUNT; f++) {
                flaw_status(&in, &v, (enum flaw)f, text, sizeof(text));
                unsigned kind = 0;
                while (kind < 3 && strncmp(text, begins[kind], strlen(begins[kind])))
                    kind++;
                assert_in_range(kind, 0, 2);
                assert_int_equal(kind == 0, !(v.flaws >> f & 1));
                assert_true(wanted != MITIGATIONS_OFF || kind != 1); /* nothing is done */
                assert_true(strlen(text) < sizeof(text) - 1);
                assert_non_null(flaw_name((enum flaw)f));
            }
        }
    }
    const struct row *skylake = &rows[3];
    struct flaw_input in = input_of(skylake);
    struct flaw_verdict v;
    flaws_decide(&in, MITIGATIONS_AUTO, &v);
    flaw_status(&in, &v, FLAW_MDS, text, sizeof(text));
    assert_string_equal(text, "Mitigation: VERW when a CPU changes VMs; SMT siblings are not "
                              "covered");
    assert_string_equal(flaw_name(FLAW_MDS), "mds");
}

/* The cores of a hybrid CPU have one signature; what they say of themselves may differ. */
static void cores_that_differ(void **state)
{
    struct flaw_input boot = input_of(&rows[5]), other = boot;
    char text[160];
    (void)state;
    for (enum mitigations mode = MITIGATIONS_OFF; mode <= MITIGATIONS_FORCE; mode++)
        assert_true(flaws_alike(&boot, &other, mode, text, sizeof(text)));
    other.arch_capabilities = 0x3f; /* MDS_NO, but there was no VERW to be left out */
    assert_true(flaws_alike(&boot, &other, MITIGATIONS_AUTO, text, sizeof(text)));
    other.arch_capabilities = 0x1d; /* the older IBRS, at each exit */
    assert_true(flaws_alike(&boot, &other, MITIGATIONS_OFF, text, sizeof(text)));
    assert_false(flaws_alike(&boot, &other, MITIGATIONS_AUTO, text, sizeof(text)));
    assert_string_equal(text, "its IA32_ARCH_CAPABILITIES are 0x1d, the boot CPU's 0x1f, so it "
                              "needs other mitigations than the boot CPU");

    boot.arch_capabilities = 0x5f; /* PSCHANGE_MC_NO */
    other.arch_capabilities = 0x1f;
    assert_false(flaws_alike(&boot, &other, MITIGATIONS_OFF, text, sizeof(text)));
    assert_non_null(strstr(text, "than the boot CPU (itlb_multihit: bit 6 is 0)"));
    assert_true(flaws_alike(&other, &boot, MITIGATIONS_OFF, text, sizeof(text)));

    boot = other = input_of(&rows[0]);
    other.physical_bits = 46; /* another width of the L1D's tags */
    assert_false(flaws_alike(&boot, &other, MITIGATIONS_AUTO, text, sizeof(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models),
        cmocka_unit_test(each_bit_counts),
        cmocka_unit_test(messages),
        cmocka_unit_test(cores_that_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
