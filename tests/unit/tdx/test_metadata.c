/* SPDX-License-Identifier: MIT */
/*
 * The metadata fields of a TD. A field is known here by its name, its identifier, and what must be
 * read; iteration must find exactly these fields in this order. Statuses are compared for every
 * kind of identifier that names no field that the TD may access.
 */
#include "tests/unit/support.h"

#include "ept/tdx_status.h"
#include "lib/bits.h"
#include "tdx/measure.h"
#include "tdx/metadata.h"

#include <pthread.h>
#include <string.h>

#define CURRENTLY_NOT_WRITABLE 0xc0000c0900000000ull

static struct td td;
static struct td_vcpu vcpu;
static struct td_measurement measurement;

static int setup(void **state)
{
    (void)state;
    memset(&measurement, 0, sizeof(measurement));
    for (unsigned i = 0; i < sizeof(measurement.mrtd); i++)
        measurement.mrtd[i] = (uint8_t)(i + 1);
    for (unsigned i = 0; i < sizeof(measurement.rtmr); i++)
        measurement.rtmr[i / SHA384_SIZE][i % SHA384_SIZE] = (uint8_t)(i * 7 + 3);
    td = (struct td){.gpa_width = TD_GPA_WIDTH,
                     .vcpus = 4,
                     .attributes = TD_ATTR_SEPT_VE_DISABLE | TD_ATTR_DEBUG,
                     .xfam = 0x2e7,
                     .config_flags = 0,
                     .td_ctls = TD_CTLS_PENDING_VE_DISABLE,
                     .notify_enables = 1,
                     .feature_pv = BIT(4),
                     .tsc_frequency = 84,
                     .measurement = &measurement};
    vcpu = (struct td_vcpu){.td = &td, .index = 3, .cpuid_ve_user = true};
    return 0;
}

/* Returns the value that follows from the specification's description of the field. */
static uint64_t words(const void *bytes, unsigned i)
{
    uint64_t word;
    memcpy(&word, (const uint8_t *)bytes + 8 * i, 8);
    return word;
}

struct expected {
    const char *name;
    enum metadata_context context;
    uint64_t id;
    unsigned elements;
    uint64_t value; /* of each element, if it is not one of the measurements */
};

static const struct expected all[] = {
    {"VENDOR_ID", METADATA_SYS, 0x0800000200000000, 1, 0x8086},
    {"MINOR_VERSION", METADATA_SYS, 0x0800000100000003, 1, 5},
    {"MAJOR_VERSION", METADATA_SYS, 0x0800000100000004, 1, 1},
    {"SYS_ATTRIBUTES", METADATA_SYS, 0x0a00000200000000, 1, 0},
    {"NUM_TDX_FEATURES", METADATA_SYS, 0x0a00000000000001, 1, 1},
    {"TDX_FEATURES0", METADATA_SYS, 0x0a00000300000008, 1, 0x40100108},
    {"MIG_ATTRIBUTES", METADATA_SYS, 0xa000000300000000, 1, 0},
    {"MIN_EXPORT_VERSION, …", METADATA_SYS, 0x2000000100000001, 4, 0},
    {"GUEST_L2_GPA_ATTR_MASK", METADATA_SYS, 0xa200000100000000, 1, 0},
    {"TD_UUID", METADATA_TD, 0x8010000300000020, 4, 0},
    {"NUM_VCPUS", METADATA_TD, 0x9010000200000001, 1, 4},
    {"NUM_L2_VMS", METADATA_TD, 0x9010000100000005, 1, 0},
    {"ATTRIBUTES", METADATA_TD, 0x1110000300000000, 1, 0x10000001},
    {"XFAM", METADATA_TD, 0x1110000300000001, 1, 0x2e7},
    {"MAX_VCPUS", METADATA_TD, 0x1110000200000002, 1, 4},
    {"GPAW", METADATA_TD, 0x1110000000000003, 1, 0},
    {"TSC_FREQUENCY", METADATA_TD, 0x111000010000000c, 1, 84},
    {"NOTIFY_ENABLES", METADATA_TD, 0x9110000300000010, 1, 1},
    {"CONFIG_FLAGS", METADATA_TD, 0x1110000300000016, 1, 0},
    {"TD_CTLS", METADATA_TD, 0x1110000300000017, 1, 1},
    {"TOPOLOGY_ENUM_CONFIGURED", METADATA_TD, 0x9110000000000019, 1, 1},
    {"FEATURE_PARAVIRT_CTRL", METADATA_TD, 0x9110000300000022, 1, 0x10},
    {"MRTD", METADATA_TD, 0x1310000300000000, 6, 0},
    {"MRCONFIGID", METADATA_TD, 0x1310000300000010, 6, 0},
    {"MROWNER", METADATA_TD, 0x1310000300000018, 6, 0},
    {"MROWNERCONFIG", METADATA_TD, 0x1310000300000020, 6, 0},
    {"RTMR", METADATA_TD, 0x1310000300000040, 24, 0},
    {"PRE_IMPORT_UUID", METADATA_TD, 0x9810000300000040, 4, 0},
    {"SERVTD_HASH", METADATA_TD, 0x9910000300000000, 6, 0},
    {"SERVTD_NUM", METADATA_TD, 0x9910000100000006, 1, 0},
    {"SERVTD_BINDINGS_TABLE", METADATA_TD, 0x9910000300000080, 16, 0},
    {"VCPU_INDEX", METADATA_VP, 0xa020000200000002, 1, 3},
    {"CPUID_SUPERVISOR_VE", METADATA_VP, 0xa020000000000007, 1, 0},
    {"CPUID_USER_VE", METADATA_VP, 0xa020000000000008, 1, 1},
};

static uint64_t value_of(const struct expected *e, unsigned element)
{
    if (!strcmp(e->name, "MRTD"))
        return words(measurement.mrtd, element);
    if (!strcmp(e->name, "RTMR"))
        return words(measurement.rtmr, element);
    return e->value;
}

static void iteration_finds_every_field(void **state)
{
    (void)state;
    for (enum metadata_context context = METADATA_SYS; context <= METADATA_VP; context++) {
        uint64_t id = METADATA_NO_FIELD, value, next;
        assert_int_equal(metadata_read(&vcpu, context, id, &value, &next),
                         TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT);
        id = next;
        for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
            for (unsigned e = 0; all[i].context == context && e < all[i].elements; e++) {
                assert_int_equal(id, all[i].id + e);
                assert_int_equal(metadata_read(&vcpu, context, id, &value, &next), TDX_SUCCESS);
                if (value != value_of(&all[i], e))
                    fail_msg("%s, element %u: %#lx", all[i].name, e, value);
                id = next;
            }
        assert_int_equal(id, METADATA_NO_FIELD);
    }
}

/* Context, sizes, the write-mask flag and NON_ARCH do not select the field. */
static void what_of_an_identifier_counts(void **state)
{
    (void)state;
    const uint64_t id = 0x1110000300000001, ignored = BITS(33, 32) | BITS(54, 50) | BIT(63);
    const uint64_t wrong = BITS(31, 24) | BITS(49, 34) | BIT(55) | BIT(62);
    uint64_t value, next;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t status = metadata_read(&vcpu, METADATA_TD, id ^ BIT(bit), &value, &next);
        if (ignored & BIT(bit)) {
            assert_int_equal(status, TDX_SUCCESS);
            assert_int_equal(value, 0x2e7);
            assert_int_equal(next, 0x1110000200000002);
        }
        if (wrong & BIT(bit)) {
            assert_int_equal(status, TDX_METADATA_FIELD_ID_INCORRECT);
            assert_int_equal(next, METADATA_NO_FIELD);
        }
    }
    /* NO_FIELD with any context begins an iteration. */
    assert_int_equal(metadata_read(&vcpu, METADATA_VP, ~BITS(54, 52), &value, &next),
                     TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT);
    assert_int_equal(next, 0xa020000200000002);
}

static void fields_of_the_vmm(void **state)
{
    (void)state;
    static const struct {
        enum metadata_context context;
        uint64_t id;
        bool exists;
    } rows[] = {
        {METADATA_TD, 0x8010000000000001, true},  /* FATAL */
        {METADATA_TD, 0x8110000100000001, true},  /* HKID */
        {METADATA_TD, 0x111000030000000a, true},  /* TSC_OFFSET */
        {METADATA_TD, 0x1110000300000080, true},  /* XBUFF_OFFSETS */
        {METADATA_TD, 0x1110000300000018, false}, /* nothing */
        {METADATA_TD, 0x1310000300000006, false}, /* after MRTD */
        {METADATA_TD, 0x1310000300000058, false}, /* after the RTMRs */
        {METADATA_TD, 0xa220000000000000, false}, /* of no class of a TD */
        {METADATA_VP, 0x0020000300000000, false}, /* L2 VMs */
        {METADATA_VP, 0xa020000300000050, false}, /* L2_CTLS */
        {METADATA_VP, 0x9020000300000000, true},  /* general register RAX */
        {METADATA_SYS, 0x0000000200000000, true}, /* NUM_PKGS */
        {METADATA_SYS, 0x8800000200000001, true}, /* BUILD_DATE */
        {METADATA_SYS, 0x3f00000000000000, false},
    };
    uint64_t value, next, old = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t status = metadata_read(&vcpu, rows[i].context, rows[i].id, &value, &next);
        assert_int_equal(status, rows[i].exists ? TDX_METADATA_FIELD_NOT_READABLE
                                                : TDX_METADATA_FIELD_ID_INCORRECT);
        status = metadata_write(&vcpu, rows[i].context, rows[i].id, 1, 1, &old);
        assert_int_equal(status, rows[i].exists ? TDX_METADATA_FIELD_NOT_WRITABLE
                                                : TDX_METADATA_FIELD_ID_INCORRECT);
    }
}

/* Every bit of every field is written alone, with and without the mask. */
static void which_bits_are_writable(void **state)
{
    (void)state;
    static const struct {
        uint64_t id, bits;
    } writable[] = {
        {0x9110000300000010, 1},     {0x1110000300000017, BIT(63) | 0xf},
        {0x9110000300000022, 0xdff}, {0xa020000000000007, 1},
        {0xa020000000000008, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
        for (unsigned bit = 0; bit < 64; bit++) {
            uint64_t value, next, old = 0, bits = 0;
            for (unsigned j = 0; j < ARRAY_SIZE(writable); j++)
                bits |= writable[j].id == all[i].id ? writable[j].bits : 0;
            setup(NULL);
            td.config_flags = TD_CONFIG_FLEXIBLE_PENDING_VE;
            assert_int_equal(metadata_read(&vcpu, all[i].context, all[i].id, &value, &next), 0);
            const uint64_t before = value;
            assert_int_equal(metadata_write(&vcpu, all[i].context, all[i].id, ~before, 0, &old),
                             TDX_METADATA_FIELD_NOT_WRITABLE);
            assert_int_equal(
                metadata_write(&vcpu, all[i].context, all[i].id, ~before, BIT(bit), &old),
                bits & BIT(bit) ? TDX_SUCCESS : TDX_METADATA_FIELD_NOT_WRITABLE);
            assert_int_equal(metadata_read(&vcpu, all[i].context, all[i].id, &value, &next), 0);
            assert_int_equal(value, bits & BIT(bit) ? before ^ BIT(bit) : before);
            if (bits & BIT(bit))
                assert_int_equal(old, before);
        }
}

/* A mask with bits that are not writable is accepted if they do not change. */
static void a_mask_may_be_too_large(void **state)
{
    (void)state;
    const uint64_t ctls = 0x1110000300000017, pv = 0x9110000300000022;
    uint64_t old = 0;
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, pv, 0x800, ~0ull, &old), TDX_SUCCESS);
    assert_int_equal(old, BIT(4));
    assert_int_equal(td.feature_pv, 0x800);
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, pv, BIT(9), ~0ull, &old),
                     TDX_METADATA_FIELD_VALUE_NOT_VALID);
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, BIT(20) | 9, ~0ull, &old),
                     TDX_METADATA_FIELD_VALUE_NOT_VALID);
    assert_int_equal(td.feature_pv, 0x800);
    assert_int_equal(td.td_ctls, 1);
}

static void controls(void **state)
{
    (void)state;
    const uint64_t ctls = 0x1110000300000017;
    uint64_t old = 0;
    /* As Linux does: one bit, by its own mask. */
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, 8, 8, &old), TDX_SUCCESS);
    assert_int_equal(td.td_ctls, TD_CTLS_PENDING_VE_DISABLE | TD_CTLS_REDUCE_VE);
    assert_int_equal(old, 1);
    /* PENDING_VE_DISABLE stays, unless the TD is flexible. */
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, 0, 1, &old),
                     TDX_METADATA_FIELD_VALUE_NOT_VALID);
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, 1, 1, &old), TDX_SUCCESS);
    td.config_flags = TD_CONFIG_FLEXIBLE_PENDING_VE;
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, 0, 1, &old), TDX_SUCCESS);
    assert_int_equal(td.td_ctls, TD_CTLS_REDUCE_VE);
    /* LOCK is the last change. */
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, BIT(63), BIT(63), &old), 0);
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, 0, 8, &old), CURRENTLY_NOT_WRITABLE);
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, 0, BIT(63), &old),
                     CURRENTLY_NOT_WRITABLE);
    assert_int_equal(metadata_write(&vcpu, METADATA_TD, ctls, 8, 8, &old), TDX_SUCCESS);
    assert_int_equal(td.td_ctls, TD_CTLS_REDUCE_VE | TD_CTLS_LOCK);
}

/* Two vCPUs write different bits at the same time. Nobody else writes a vCPU's own bit, so it stays
 * as it was written; a write that cannot be made at once is refused. */
static pthread_barrier_t both_run;

static void *write_bits(void *argument)
{
    struct td_vcpu *v = argument;
    const uint64_t pv = 0x9110000300000022, bit = BIT(v->index), busy = TDX_OPERAND_BUSY | 176;
    pthread_barrier_wait(&both_run);
    for (unsigned i = 0; i < 3000000; i++) {
        uint64_t old, value = i & 1 ? bit : 0, status;
        while ((status = metadata_write(v, METADATA_TD, pv, value, bit, &old)) == busy)
            ;
        if (status || (__atomic_load_n(&td.feature_pv, __ATOMIC_RELAXED) & bit) != value ||
            (i && (old & bit) == value))
            return argument;
    }
    return NULL;
}

static void two_writers(void **state)
{
    (void)state;
    struct td_vcpu vcpus[2] = {{.td = &td, .index = 3}, {.td = &td, .index = 5}};
    pthread_t threads[2];
    void *failed[2];
    pthread_barrier_init(&both_run, NULL, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_bits, &vcpus[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], &failed[i]), 0);
    assert_true(!failed[0] && !failed[1]);
    assert_int_equal(td.feature_pv, BIT(3) | BIT(4) | BIT(5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(iteration_finds_every_field, setup),
        cmocka_unit_test_setup(what_of_an_identifier_counts, setup),
        cmocka_unit_test_setup(fields_of_the_vmm, setup),
        cmocka_unit_test_setup(which_bits_are_writable, setup),
        cmocka_unit_test_setup(a_mask_may_be_too_large, setup),
        cmocka_unit_test_setup(controls, setup),
        cmocka_unit_test_setup(two_writers, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
