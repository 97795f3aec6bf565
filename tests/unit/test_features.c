/*
 * What a guest's CPU has, on recorded and made-up hosts: nothing that the table has not, and CPUID,
 * MSRs, CR4 and XCR0 that agree with each other.
 */
#include "tests/unit/support.h"

#include "guest/abi.h"
#include "guest/cpuid_table.h"
#include "guest/features.h"
#include "vmx/controls.h"
#include "vmx/xcr0.h"

#include <string.h>

#define ALL_CONTROLS (SECONDARY_RDTSCP | SECONDARY_INVPCID | SECONDARY_XSAVES)

/* A host: what its leaves say; one that is not listed is all zero. */
struct record {
    uint32_t leaf, subleaf;
    struct cpuid r;
};

/* The components of Sapphire Rapids; the first five of them are Ice Lake's. */
#define COMPONENTS                                                                                 \
    {0xd, 2, {0x100, 0x240, 0, 0}}, {0xd, 5, {0x40, 0x440, 0, 0}}, {0xd, 6, {0x200, 0x480, 0, 0}}, \
    {                                                                                              \
        0xd, 7,                                                                                    \
        {                                                                                          \
            0x400, 0x680, 0, 0                                                                     \
        }                                                                                          \
    }

#define ALL_ONES           \
    {                      \
        ~0u, ~0u, ~0u, ~0u \
    }

/* A CPU with every feature bit there is or will be, and the components of Sapphire Rapids. */
static const struct record everything[] = {
    {0, 0, {0x20, 0x756e6547, 0x6c65746e, 0x49656e69}},
    {1, 0, {0x000806f8, 0x0b400800, ~0u, ~0u}},
    {2, 0, {0x00feff01, 0xf0, 0, 0}},
    {4, 0, {0xfc004121, 0x02c0003f, 0x3f, 0}},
    {4, 3, {0xfc1fc163, 0x0380003f, 0x1bfff, 4}},
    {5, 0, ALL_ONES},
    {6, 0, ALL_ONES},
    {7, 0, {2, ~0u, ~0u, ~0u}},
    {7, 1, ALL_ONES},
    {7, 2, ALL_ONES},
    {0xa, 0, ALL_ONES},
    {0xb, 0, {1, 2, 0x100, 7}},
    {0xb, 1, {7, 112, 0x201, 7}},
    {0xd, 0, {0x602e7, 0x2b00, 0x2b00, 0}},
    {0xd, 1, {0x1f, 0x2b00, 0x1900, 0}},
    COMPONENTS,
    {0xd, 9, {8, 0xa80, 0, 0}},
    {0xd, 17, {0x40, 0xac0, 2, 0}},
    {0xd, 18, {0x2000, 0xb00, 6, 0}},
    {0xf, 0, ALL_ONES},
    {0x10, 0, ALL_ONES},
    {0x12, 0, ALL_ONES},
    {0x14, 0, ALL_ONES},
    {0x15, 0, {2, 160, 25000000, 0}},
    {0x16, 0, {2000, 3800, 100, 0}},
    {0x19, 0, ALL_ONES},
    {0x1c, 0, ALL_ONES},
    {0x1d, 0, ALL_ONES},
    {0x1e, 0, ALL_ONES},
    {0x1f, 0, {1, 2, 0x100, 7}},
    {0x20, 0, ALL_ONES},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0, 0, ~0u, ~0u}},
    {0x80000002, 0, {1, 2, 3, 4}},
    {0x80000006, 0, {0, 0, 0x08007040, 0}},
    {0x80000007, 0, ALL_ONES},
    {0x80000008, 0, {0x003934, ~0u, ~0u, ~0u}},
};

/* Ice Lake as Bochs 2.7 has it: PKRU's component is counted, and not described. */
static const struct record icelake_bochs[] = {
    {0, 0, {0x1b, 0x756e6547, 0x6c65746e, 0x49656e69}},
    {1, 0, {0x000706e5, 0x00100800, 0x7ffafbff, 0xbfebfbff}},
    {7, 0, {0, 0xf2bf27ef, 0x40405f4e, 0xbc000410}},
    {0xd, 0, {0x2e7, 0xa88, 0xa88, 0}},
    {0xd, 1, {0xf, 0xa08, 0x100, 0}},
    COMPONENTS,
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0, 0, 0x121, 0x2c100800}},
    {0x80000008, 0, {0x3028, 0, 0, 0}},
};

/* Westmere: no leaf 7, no XSAVE; its highest leaf is that of the topology. */
static const struct record westmere[] = {
    {0, 0, {0xb, 0x756e6547, 0x6c65746e, 0x49656e69}},
    {1, 0, {0x000206c2, 0x07200800, 0x029ee3ff, 0xbfebfbff}},
    {0xb, 0, {1, 2, 0x100, 5}},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0, 0, 1, 0x2c100800}},
    {0x80000008, 0, {0x3028, 0, 0, 0}},
};

static const struct record *records;
static unsigned record_count;
static uint32_t mask_leaf, mask_word, mask_bits; /* hidden from the host */

static struct cpuid recorded(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    bool has_subleaves = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;
    for (unsigned i = 0; i < record_count; i++)
        if (records[i].leaf == leaf && records[i].subleaf == (has_subleaves ? subleaf : 0))
            r = records[i].r;
    if (mask_bits && leaf == mask_leaf && !subleaf)
        (mask_word == CPUID_EBX   ? &r.ebx
         : mask_word == CPUID_ECX ? &r.ecx
                                  : &r.edx)[0] &= ~mask_bits;
    return r;
}

/* The VM and its third vCPU. As in guest/cpuid.c, the answers are kept when the VM is made. */
static struct feature_vm vm;
static struct feature_vcpu vcpu;
static struct cpuid_table table;

static struct cpuid shown(const void *context, uint32_t leaf, uint32_t subleaf)
{
    return features_cpuid(context, leaf, subleaf);
}

static void make_vm(unsigned count)
{
    vm =
        (struct feature_vm){.count = count, .tsc_hz = 2000000000, .shared = 39, .execute_only = 38};
    vcpu = (struct feature_vcpu){.index = count - 1, .apic_on = true, .xcr0 = 1};
    cpuid_table_fill(&table, shown, &vm);
    assert_int_equal(table.left_out, 0);
}

typedef struct cpuid cpuid_function_t(uint32_t leaf, uint32_t subleaf);
static void start_host(cpuid_function_t *function, uint64_t controls, uint64_t cr4, bool compaction)
{
    struct cpuid d = function(0xd, 0);
    const struct feature_host host = {.cpuid = function,
                                      .xcr0 = xcr0_largest((uint64_t)d.edx << 32 | d.eax),
                                      .secondary = controls,
                                      .cr4 = cr4,
                                      .compaction = compaction};
    features_setup(&host);
    make_vm(3);
}

#define START(list, controls) start(list, ARRAY_SIZE(list), controls, true)
static void start(const struct record *list, unsigned count, uint64_t controls, bool compaction)
{
    records = list;
    record_count = count;
    start_host(recorded, controls, ~0ull, compaction);
}

static struct cpuid ask(uint32_t leaf, uint32_t subleaf)
{
    return cpuid_table_ask(&table, &vcpu, leaf, subleaf);
}

static uint32_t word(const struct cpuid *r, unsigned which)
{
    const uint32_t words[] = {r->eax, r->ebx, r->ecx, r->edx};
    return words[which];
}

static void assert_same(struct cpuid a, struct cpuid b)
{
    assert_memory_equal(&a, &b, sizeof(a));
}

/* ---- What is not offered --------------------------------------------------------------------- */

/* Whatever needs MSRs, state or bits of CR4 that a guest does not get. */
static const struct {
    uint32_t leaf, subleaf;
    unsigned word, bit;
} hidden[] = {
    {1, 0, CPUID_ECX, 2},   /* DTES64 */
    {1, 0, CPUID_ECX, 3},   /* MONITOR */
    {1, 0, CPUID_ECX, 4},   /* DS-CPL */
    {1, 0, CPUID_ECX, 5},   /* VMX */
    {1, 0, CPUID_ECX, 6},   /* SMX */
    {1, 0, CPUID_ECX, 7},   /* EIST */
    {1, 0, CPUID_ECX, 8},   /* TM2 */
    {1, 0, CPUID_ECX, 10},  /* CNXT-ID */
    {1, 0, CPUID_ECX, 11},  /* SDBG */
    {1, 0, CPUID_ECX, 14},  /* xTPR */
    {1, 0, CPUID_ECX, 15},  /* PDCM */
    {1, 0, CPUID_ECX, 18},  /* DCA */
    {1, 0, CPUID_EDX, 7},   /* MCE */
    {1, 0, CPUID_EDX, 12},  /* MTRR */
    {1, 0, CPUID_EDX, 14},  /* MCA */
    {1, 0, CPUID_EDX, 18},  /* PSN */
    {1, 0, CPUID_EDX, 21},  /* DS */
    {1, 0, CPUID_EDX, 22},  /* ACPI */
    {1, 0, CPUID_EDX, 29},  /* TM */
    {1, 0, CPUID_EDX, 31},  /* PBE */
    {7, 0, CPUID_EBX, 2},   /* SGX */
    {7, 0, CPUID_EBX, 4},   /* HLE */
    {7, 0, CPUID_EBX, 11},  /* RTM */
    {7, 0, CPUID_EBX, 12},  /* RDT monitoring */
    {7, 0, CPUID_EBX, 14},  /* MPX */
    {7, 0, CPUID_EBX, 15},  /* RDT allocation */
    {7, 0, CPUID_EBX, 25},  /* PT */
    {7, 0, CPUID_ECX, 5},   /* WAITPKG */
    {7, 0, CPUID_ECX, 7},   /* CET shadow stacks */
    {7, 0, CPUID_ECX, 13},  /* TME */
    {7, 0, CPUID_ECX, 16},  /* LA57 */
    {7, 0, CPUID_ECX, 23},  /* Key Locker */
    {7, 0, CPUID_ECX, 24},  /* bus-lock detection */
    {7, 0, CPUID_ECX, 29},  /* ENQCMD */
    {7, 0, CPUID_ECX, 30},  /* SGX launch control */
    {7, 0, CPUID_ECX, 31},  /* PKS */
    {7, 0, CPUID_EDX, 5},   /* UINTR */
    {7, 0, CPUID_EDX, 18},  /* PCONFIG */
    {7, 0, CPUID_EDX, 19},  /* architectural LBR */
    {7, 0, CPUID_EDX, 20},  /* CET indirect branches */
    {7, 0, CPUID_EDX, 22},  /* AMX-BF16 */
    {7, 0, CPUID_EDX, 24},  /* AMX-TILE */
    {7, 0, CPUID_EDX, 25},  /* AMX-INT8 */
    {7, 1, CPUID_EAX, 6},   /* LASS */
    {7, 1, CPUID_EAX, 17},  /* FRED */
    {7, 1, CPUID_EAX, 19},  /* WRMSRNS */
    {7, 1, CPUID_EAX, 22},  /* HRESET */
    {7, 1, CPUID_EAX, 26},  /* LAM */
    {7, 1, CPUID_EDX, 21},  /* APX */
    {0xd, 1, CPUID_EAX, 4}, /* XFD */
};

static void not_offered(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++) {
        struct cpuid r = ask(hidden[i].leaf, hidden[i].subleaf);
        if (word(&r, hidden[i].word) & BIT(hidden[i].bit))
            fail_msg("leaf %x.%u, word %u, bit %u", hidden[i].leaf, hidden[i].subleaf,
                     hidden[i].word, hidden[i].bit);
    }
    static const uint32_t empty[] = {3,    5,    8,    9,    0xa,  0xc,  0xe,       0xf,  0x10,
                                     0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18,      0x19, 0x1a,
                                     0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x80000005};
    for (unsigned i = 0; i < ARRAY_SIZE(empty); i++)
        for (uint32_t subleaf = 0; subleaf < 4; subleaf++)
            assert_same(ask(empty[i], subleaf), (struct cpuid){0});
    assert_same(ask(7, 2), (struct cpuid){0});
}

/* A later CPU: all bits of all its leaves are ones, where they do not say how many there are. */
static struct cpuid later(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid ones = ALL_ONES;
    switch (leaf) {
    case 0:
        ones.eax = 0x24;
        break;
    case 0x80000000:
        ones.eax = 0x80000021;
        break;
    case 4:
        if (subleaf > 3)
            ones.eax = 0;
        break;
    case 0xd: /* all 61 components, each of 64 bytes */
        if (subleaf >= 2)
            ones = (struct cpuid){64, 576 + 64 * (subleaf - 2), ~0u, ~0u};
        break;
    default:
        break;
    }
    return ones;
}

/* What a later CPU's answer may show beside the table's bits: values, not features. */
static const struct {
    uint32_t leaf, subleaf;
    uint32_t words[4];
} values[] = {
    {0, 0, {0x24, ~0u, ~0u, ~0u}},       /* the vendor */
    {1, 0, {~0u, ~0u, 0, BIT(28)}},      /* the model, who it is; several */
    {2, 0, ALL_ONES},                    /* caches and TLBs */
    {4, 0, {0x0fffffff, ~0u, ~0u, ~0u}}, /* likewise */
    {4, 1, {0x0fffffff, ~0u, ~0u, ~0u}},
    {4, 2, {0x0fffffff, ~0u, ~0u, ~0u}},
    {4, 3, {0x0fffffff, ~0u, ~0u, ~0u}},
    {7, 0, {1, 0, 0, 0}},            /* the last subleaf */
    {0xd, 0, {0x2e7, 576, 1088, 0}}, /* XCR0, and the areas */
    {0xd, 1, {0, 576, 0, 0}},
    {0xd, 2, {64, 576, 2, 0}},
    {0xd, 5, {64, 768, 2, 0}},
    {0xd, 6, {64, 832, 2, 0}},
    {0xd, 7, {64, 896, 2, 0}},
    {0xd, 9, {64, 1024, 2, 0}},
    {0x15, 0, {1, 1, 2000000000, 0}},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000002, 0, ALL_ONES}, /* the name */
    {0x80000003, 0, ALL_ONES},
    {0x80000004, 0, ALL_ONES},
    {0x80000006, 0, ALL_ONES},          /* a cache */
    {0x80000008, 0, {0x30ff, 0, 0, 0}}, /* widths of addresses */
};

static struct cpuid allowed(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r = {0};
    uint32_t *const words[] = {&r.eax, &r.ebx, &r.ecx, &r.edx};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        for (unsigned w = 0; w < 4; w++)
            if (values[i].leaf == leaf && values[i].subleaf == subleaf)
                *words[w] |= values[i].words[w];
    for (unsigned f = 0; f < feature_count; f++)
        if (feature_table[f].leaf == leaf && feature_table[f].subleaf == subleaf)
            *words[feature_table[f].word] |= feature_table[f].bit;
    if (leaf == 0xb) {
        static const struct cpuid levels[] = {{0, 1, 0x100, 2}, {2, 3, 0x201, 2}};
        r = subleaf < 2 ? levels[subleaf] : (struct cpuid){0, 0, subleaf & 0xff, 2};
    }
    return r;
}

static const uint32_t indexed[] = {4,    7,    0xb,  0xd,  0xf,  0x10, 0x12, 0x14, 0x17,
                                   0x18, 0x1b, 0x1d, 0x1e, 0x1f, 0x20, 0x23, 0x24};

static bool is_indexed(uint32_t leaf)
{
    for (unsigned i = 0; i < ARRAY_SIZE(indexed); i++)
        if (indexed[i] == leaf)
            return true;
    return false;
}

static void nothing_of_a_later_cpu(void **state)
{
    (void)state;
    static const uint32_t subleaves[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 18, 19, 62, 63, 64, ~0u};
    start_host(later, ~0ull, ~0ull, true);
    for (unsigned i = 0; i < 2 * 0x100; i++) {
        uint32_t leaf = (i & 0x100 ? 0x80000000 : 0) | (i & 0xff);
        for (unsigned s = 0; s < ARRAY_SIZE(subleaves); s++) {
            struct cpuid r = ask(leaf, subleaves[s]);
            struct cpuid may = allowed(leaf, is_indexed(leaf) ? subleaves[s] : 0);
            for (unsigned w = 0; w < 4; w++)
                if (word(&r, w) & ~word(&may, w))
                    fail_msg("leaf %x.%x, word %u: %x of %x", leaf, subleaves[s], w, word(&r, w),
                             word(&may, w));
        }
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        bool known = 0x2e7ull >> bit & 1, cr4 = 0x770fbfull >> bit & 1;
        assert_int_equal(features_cr4() >> bit & 1, cr4);
        if (!known)
            assert_false(features_xcr0_valid(0x2e7 | BIT(bit)));
    }
    assert_true(features_xcr0_valid(0x2e7));
    for (uint32_t msr = 0x1a1; msr < 0xe00; msr++) { /* those that are there, and no other */
        bool there = msr == 0x1d9 || msr == 0x277 || msr == 0x6e0 || msr == 0xda0;
        assert_int_equal(features_msr(msr) != NULL, there);
    }
}

/* Every bit of the leaves with feature bits is the table's, or the vCPU's own. */
static void nothing_without_a_row(void **state)
{
    (void)state;
    static const uint32_t leaves[][2] = {{1, 0},   {6, 0},          {7, 0},         {7, 1},
                                         {0xd, 1}, {0x80000001, 0}, {0x80000007, 0}};
    START(everything, ALL_CONTROLS);
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        struct cpuid r = ask(leaves[i][0], leaves[i][1]);
        for (unsigned w = 0; w < 4; w++) {
            uint32_t rows = 0;
            for (unsigned f = 0; f < feature_count; f++)
                if (feature_table[f].leaf == leaves[i][0] &&
                    feature_table[f].subleaf == leaves[i][1] && feature_table[f].word == w)
                    rows |= feature_table[f].bit;
            bool other = (leaves[i][0] == 1 && w < 2) ||
                         (leaves[i][0] == 7 && !leaves[i][1] && !w) ||
                         (leaves[i][0] == 0xd && w == CPUID_EBX);
            if (leaves[i][0] == 1 && w == CPUID_EDX)
                rows |= BIT(28); /* several */
            if (!other)
                assert_int_equal(word(&r, w) & ~rows, 0);
            if (!other && leaves[i][0] != 0xd)
                assert_int_equal(word(&r, w), rows);
        }
    }
}

/* ---- CR4, MSRs, XCR0 ------------------------------------------------------------------------- */

/* The SDM's CR4: which CPUID bit makes a bit of it settable; the rest is reserved here. */
static const struct {
    unsigned cr4;
    uint32_t leaf;
    unsigned word, bit;
} cr4_bits[] = {
    {0, 1, CPUID_EDX, 1},   {1, 1, CPUID_EDX, 1},   {2, 1, CPUID_EDX, 4},  {3, 1, CPUID_EDX, 2},
    {4, 1, CPUID_EDX, 3},   {5, 1, CPUID_EDX, 6},   {7, 1, CPUID_EDX, 13}, {8, 1, CPUID_EDX, 4},
    {9, 1, CPUID_EDX, 24},  {10, 1, CPUID_EDX, 25}, {11, 7, CPUID_ECX, 2}, {16, 7, CPUID_EBX, 0},
    {17, 1, CPUID_ECX, 17}, {18, 1, CPUID_ECX, 26}, {20, 7, CPUID_EBX, 7}, {21, 7, CPUID_EBX, 20},
    {22, 7, CPUID_ECX, 3},
};

static void cr4_follows_cpuid(void **state)
{
    (void)state;
    uint64_t all = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++)
        all |= BIT(cr4_bits[i].cr4);
    START(everything, ALL_CONTROLS);
    assert_int_equal(features_cr4(), all);
    for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++) {
        mask_leaf = cr4_bits[i].leaf;
        mask_word = cr4_bits[i].word;
        mask_bits = (uint32_t)BIT(cr4_bits[i].bit);
        START(everything, ALL_CONTROLS);
        assert_int_equal(features_cr4() & BIT(cr4_bits[i].cr4), 0);
        mask_bits = 0;
    }
    /* VMX may forbid one. */
    start_host(recorded, 0, ~BIT(20), true);
    assert_int_equal(features_cr4(), all & ~BIT(20));
}

static void msrs_follow_cpuid(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    assert_non_null(features_msr(MSR_XSS));
    assert_non_null(features_msr(MSR_TSC_AUX));
    assert_non_null(features_msr(0x3b));
    assert_null(features_msr(0xc8d)); /* RDT */
    assert_null(features_msr(0xc80)); /* SDBG */
    assert_null(features_msr(0x6a0)); /* CET */
    assert_null(features_msr(0x1c4)); /* XFD */
    assert_null(features_msr(0xd90)); /* MPX */
    assert_null(features_msr(0x480)); /* VMX */
    START(everything, 0);
    assert_null(features_msr(MSR_XSS));
    assert_null(features_msr(MSR_TSC_AUX));
    assert_int_equal(ask(0xd, 1).eax & BIT(3), 0);
    assert_int_equal(ask(0x80000001, 0).edx & BIT(27), 0);
    assert_int_equal(ask(7, 0).ecx & BIT(22), 0); /* RDPID */
    assert_int_equal(ask(7, 0).ebx & BIT(10), 0); /* INVPCID */
    START(westmere, ALL_CONTROLS);
    assert_null(features_msr(0x3b));
    assert_null(features_msr(MSR_XSS));
    for (unsigned f = 0; f < feature_count; f++)
        for (unsigned m = 0; m < FEATURE_MSRS && feature_table[f].msrs[m]; m++)
            if (feature_offered(&feature_table[f]))
                assert_non_null(features_msr(feature_table[f].msrs[m]));
}

/* SDM 1, 13.3: every value of the low bits, and each bit above. */
static void xcr0_values(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    for (uint64_t value = 0; value < 0x100000; value++) {
        uint64_t avx512 = value & 0xe0;
        bool valid = value & 1 && !(value & ~0x2e7ull) && (!(value & 4) || value & 2) &&
                     (!avx512 || (avx512 == 0xe0 && value & 4));
        assert_int_equal(features_xcr0_valid(value), valid);
    }
    for (unsigned bit = 8; bit < 64; bit++)
        assert_int_equal(features_xcr0_valid(7 | BIT(bit)), bit == 9);
    START(westmere, ALL_CONTROLS);
    for (unsigned bit = 0; bit < 64; bit++)
        assert_false(features_xcr0_valid(1 | BIT(bit)));
}

/* ---- Leaf 0Dh -------------------------------------------------------------------------------- */

static uint32_t area_of(uint64_t xcr0)
{
    vcpu.xcr0 = xcr0;
    return ask(0xd, 0).ebx;
}

static uint32_t compacted_of(uint64_t xcr0)
{
    vcpu.xcr0 = xcr0;
    return ask(0xd, 1).ebx;
}

static void xsave_areas(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    assert_same(ask(0xd, 0), (struct cpuid){0x2e7, 576, 0xa88, 0});
    assert_int_equal(area_of(3), 576);
    assert_int_equal(area_of(7), 832);
    assert_int_equal(area_of(0xe7), 0xa80);
    assert_int_equal(area_of(0x201), 0xa88);
    assert_int_equal(compacted_of(3), 576);
    assert_int_equal(compacted_of(7), 832);
    assert_int_equal(compacted_of(0xe7), 832 + 0x640);
    assert_int_equal(compacted_of(0x203), 584);
    vcpu.xcr0 = 1;
    assert_same(ask(0xd, 1), (struct cpuid){0xf, 576, 0, 0});
    assert_same(ask(0xd, 7), (struct cpuid){0x400, 0x680, 0, 0});
    assert_same(ask(0xd, 9), (struct cpuid){8, 0xa80, 0, 0});
    for (uint32_t subleaf = 10; subleaf < 80; subleaf++) /* AMX' too */
        assert_same(ask(0xd, subleaf), (struct cpuid){0});

    START(icelake_bochs, ALL_CONTROLS);
    assert_same(ask(0xd, 0), (struct cpuid){0xe7, 576, 0xa80, 0});
    assert_same(ask(0xd, 9), (struct cpuid){0});
    assert_false(features_xcr0_valid(0x203));
    assert_int_equal(ask(7, 0).ecx & BIT(3), BIT(3)); /* PKU works without it */

    /* Where the compacted format does not: neither XSAVEC nor XSAVES, nor their MSR. */
    start(icelake_bochs, ARRAY_SIZE(icelake_bochs), ALL_CONTROLS, false);
    assert_same(ask(0xd, 1), (struct cpuid){5, 0, 0, 0});
    assert_null(features_msr(MSR_XSS));

    START(westmere, ALL_CONTROLS);
    assert_int_equal(ask(1, 0).ecx & BITS(28, 26), 0);
}

/* SDM 1, 13.4.3: in the compacted format a component with bit 1 of ECX begins at a multiple of
 * 64. Here that is PKRU's, of 8 bytes, and what follows the 8 of AVX. */
static void aligned_components(void **state)
{
    (void)state;
    static const struct record odd[] = {
        {0, 0, {0xd, 0, 0, 0}},        {1, 0, {0x806f8, 0, ~0u, ~0u}}, {0xd, 0, {0x207, 0, 0, 0}},
        {0xd, 1, {0xf, 0, 0, 0}},      {0xd, 2, {8, 1024, 0, 0}},      {0xd, 9, {8, 576, 3, 0}},
        {0x80000000, 0, {0, 0, 0, 0}},
    };
    START(odd, ALL_CONTROLS);
    assert_same(ask(0xd, 9), (struct cpuid){8, 576, 2, 0});
    assert_int_equal(area_of(0x3), 576);
    assert_int_equal(area_of(0x7), 1032);
    assert_int_equal(area_of(0x203), 584);
    assert_int_equal(area_of(0x207), 1032);
    assert_int_equal(compacted_of(0x3), 576);
    assert_int_equal(compacted_of(0x7), 584);
    assert_int_equal(compacted_of(0x203), 584);
    assert_int_equal(compacted_of(0x207), 648);
}

/* What we do not switch is not offered, whatever CPUID says of the host. */
static void components_not_switched(void **state)
{
    (void)state;
    records = everything;
    record_count = ARRAY_SIZE(everything);
    const struct feature_host host = {
        .cpuid = recorded, .xcr0 = 3, .secondary = ALL_CONTROLS, .cr4 = ~0ull, .compaction = true};
    features_setup(&host);
    make_vm(1);
    assert_same(ask(0xd, 0), (struct cpuid){3, 576, 576, 0});
    assert_int_equal(ask(1, 0).ecx & (BIT(26) | BIT(28)), BIT(26)); /* XSAVE without AVX */
    assert_int_equal(ask(7, 0).ebx & (BIT(5) | BIT(16)), 0);
    assert_true(features_xcr0_valid(3));
    assert_false(features_xcr0_valid(7));
}

/* AVX-512 with one of its components missing is not there at all. */
static void parts_of_avx512(void **state)
{
    (void)state;
    mask_leaf = 0xd;
    mask_word = CPUID_EBX;
    static struct record parts[ARRAY_SIZE(everything)];
    for (unsigned bit = 5; bit < 8; bit++) {
        memcpy(parts, everything, sizeof(parts));
        for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
            if (parts[i].leaf == 0xd && parts[i].subleaf == 0)
                parts[i].r.eax &= ~(uint32_t)BIT(bit);
        START(parts, ALL_CONTROLS);
        assert_int_equal(ask(0xd, 0).eax, 0x207);
        assert_int_equal(ask(7, 0).ebx & (BIT(16) | BIT(17) | BIT(21) | BIT(31)), 0);
        assert_true(ask(7, 0).ebx & BIT(5)); /* AVX2 */
    }
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

/* SDM 2, CPUID: what is above the highest leaf is the highest basic one, ours and not the
 * host's. */
static void above_the_highest(void **state)
{
    (void)state;
    static const uint32_t above[] = {0xc,        0xd,        0x1f,       0x1000,
                                     0x3fffffff, 0x50000000, 0x7fffffff, 0x80000009,
                                     0x8000001f, 0x90000000, 0xffffffff};
    START(westmere, ALL_CONTROLS);
    for (unsigned i = 0; i < ARRAY_SIZE(above); i++)
        for (uint32_t subleaf = 0; subleaf < 4; subleaf++) {
            assert_same(ask(above[i], subleaf), ask(0xb, subleaf));
            if (subleaf < 2)
                assert_int_equal(ask(above[i], subleaf).edx, 2); /* the vCPU's ID, not 5 */
        }
    START(everything, ALL_CONTROLS);
    assert_same(ask(0x21, 0), ask(0x20, 0));
    assert_int_equal(ask(0x80000000, 0).eax, 0x80000008);
    assert_same(ask(0x80000008, 0), (struct cpuid){.eax = 0x3034}); /* 48 bits without LA57 */
}

static void own_leaves(void **state)
{
    (void)state;
    START(everything, ALL_CONTROLS);
    assert_same(ask(0x40000000, 0),
                (struct cpuid){ABI_CPUID_STOLEN, ABI_CPUID_EBX, ABI_CPUID_ECX, ABI_CPUID_EDX});
    assert_same(ask(0x40000001, 0), (struct cpuid){.eax = 39, .ebx = 38});
    for (uint32_t leaf = 0x40000002; leaf < 0x40000300; leaf++)
        assert_same(ask(leaf, 0), (struct cpuid){0});
    assert_same(ask(0x4fffffff, 0), (struct cpuid){0});
    assert_same(ask(0x15, 0), (struct cpuid){1, 1, 2000000000, 0});
    assert_same(ask(0, 0), everything[0].r);
    assert_int_equal(ask(6, 0).eax, 4); /* the APIC's timer never stops */
    struct cpuid one = ask(1, 0);
    assert_int_equal(one.eax, 0x806f8);
    assert_int_equal(one.ebx >> 16, 2 << 8 | 3);
    assert_int_equal(ask(4, 0).eax, 0x0c000121); /* four IDs, and a cache of one's own */
    assert_int_equal(one.edx & (BIT(9) | BIT(28)), BIT(9) | BIT(28));
    make_vm(1);
    assert_int_equal(ask(1, 0).edx & (BIT(9) | BIT(28)), BIT(9));
    vcpu.apic_on = false;
    assert_int_equal(ask(1, 0).edx & BIT(9), 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        vcpu.cr4 = BIT(bit);
        assert_int_equal(ask(1, 0).ecx & BIT(27), bit == 18 ? BIT(27) : 0);
        assert_int_equal(ask(7, 0).ecx & BIT(4), bit == 22 ? BIT(4) : 0);
        assert_int_equal(ask(7, 1).ecx, 0);
    }
}

/* Each level of the topology, and each subleaf beyond, says who asks (SDM 2A, CPUID leaf 0Bh). */
static void topology_leaf(void **state)
{
    (void)state;
    static const unsigned bits[] = {0, 0, 1, 2, 2, 3, 3, 3, 3, 4};
    START(everything, ALL_CONTROLS);
    for (unsigned count = 1; count < ARRAY_SIZE(bits); count++) {
        make_vm(count);
        for (vcpu.index = 0; vcpu.index < count; vcpu.index++) {
            assert_same(ask(0xb, 0), (struct cpuid){0, 1, 0x100, vcpu.index});
            assert_same(ask(0xb, 1), (struct cpuid){bits[count], count, 0x201, vcpu.index});
            assert_same(ask(0xb, 2), (struct cpuid){0, 0, 2, vcpu.index});
            assert_same(ask(0xb, 0x12345678), (struct cpuid){0, 0, 0x78, vcpu.index});
            assert_int_equal(ask(1, 0).ebx >> 24, vcpu.index);
        }
    }
}

/* This machine's own CPU, whatever it is: what it lacks is not offered. */
static void on_this_machine(void **state)
{
    (void)state;
    start_host(cpuid, ALL_CONTROLS, ~0ull, true);
    for (unsigned f = 0; f < feature_count; f++) {
        const struct feature *row = &feature_table[f];
        struct cpuid r = cpuid(row->leaf, row->subleaf);
        if (feature_offered(row) && !row->ours)
            assert_int_equal(word(&r, row->word) & row->bit, row->bit);
    }
    for (uint32_t leaf = 0; leaf < 0x40; leaf++)
        for (uint32_t subleaf = 0; subleaf < 70; subleaf++)
            (void)ask(leaf, subleaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_offered),
        cmocka_unit_test(nothing_of_a_later_cpu),
        cmocka_unit_test(nothing_without_a_row),
        cmocka_unit_test(cr4_follows_cpuid),
        cmocka_unit_test(msrs_follow_cpuid),
        cmocka_unit_test(xcr0_values),
        cmocka_unit_test(xsave_areas),
        cmocka_unit_test(aligned_components),
        cmocka_unit_test(components_not_switched),
        cmocka_unit_test(parts_of_avx512),
        cmocka_unit_test(above_the_highest),
        cmocka_unit_test(own_leaves),
        cmocka_unit_test(topology_leaf),
        cmocka_unit_test(on_this_machine),
    };
    return cmocka_run_group_tests_name("features", tests, NULL, NULL);
}
