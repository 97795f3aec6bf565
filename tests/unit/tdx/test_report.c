/* SPDX-License-Identifier: MIT */
/*
 * TDREPORTs: each field at the offset that Intel documents, hashes and MAC computed a second time,
 * each flipped bit refused, and what the three leaves answer to each mistake in their operands, in
 * the module's order.
 */
#include "tests/unit/support.h"

#include "ept/tdx_status.h"
#include "lib/bits.h"
#include "tdx/report.h"

#include <errno.h>
#include <string.h>

#define RAM_SIZE   0x4000u
#define SHARED_BIT BIT(39)
#define DATA       0x1040u /* 64 bytes that the TD chose */
#define REPORT     0x2400u
#define OTHER      (~0ull / 3) /* an operand of which nothing is looked at */

static uint8_t ram[RAM_SIZE];
static uint64_t refused; /* an address at which there is no memory */
static unsigned accesses;
static struct td_measurement measurement;
static struct td td;
static struct tdx_reporter reporter;
static struct tdx_operand_fault fault;

static int access_ram(gpa_t gpa, size_t size)
{
    uint64_t offset = gpa.v & ~SHARED_BIT;

    accesses++;
    assert_true(offset / 4096 == (offset + size - 1) / 4096);
    return gpa.v == refused || offset + size > RAM_SIZE ? -EACCES : 0;
}

static int read_ram(void *context, gpa_t gpa, void *buffer, size_t size)
{
    int error = access_ram(gpa, size);

    assert_ptr_equal(context, ram);
    memcpy(buffer, ram + (error ? 0 : gpa.v & ~SHARED_BIT), size);
    return error;
}

static int write_ram(void *context, gpa_t gpa, const void *buffer, size_t size)
{
    int error = access_ram(gpa, size);

    assert_ptr_equal(context, ram);
    if (!error)
        memcpy(ram + (gpa.v & ~SHARED_BIT), buffer, size);
    return error;
}

static const struct tdx_memory memory = {read_ram, write_ram, ram};

static int setup(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(ram); i++)
        ram[i] = (uint8_t)(i * 31 + i / 256);
    refused = ~0ull;
    accesses = 0;
    memset(&fault, 0xee, sizeof(fault));
    tdx_measure_init(&measurement);
    tdx_measure_page(&measurement, GPA(0x1000));
    tdx_measure_finalise(&measurement);
    for (unsigned i = 0; i < TDX_RTMRS; i++)
        tdx_rtmr_extend(&measurement, i, ram + 100 * i);
    td = (struct td){
        .gpa_width = 40,
        .attributes = 0x1122334455667788,
        .xfam = 0x00e7,
        .measurement = &measurement,
    };
    tdx_reporter_init(&reporter, "the secret of this boot", 23);
    return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, size - 1);
}

/* Offsets as the TDX module's ABI specification lists them. */
static void every_field_is_in_its_place(void **state)
{
    (void)state;
    static const struct {
        unsigned offset, size;
    } zero[] = {
        {1, 3},    {4, 12},   {16, 16},  /* subtype, version, reserved; CPUSVN */
        {192, 32}, {376, 8},  {400, 95}, /* reserved; TEE_TCB_INFO.ATTRIBUTES, reserved */
        {495, 17}, {576, 48}, {624, 48}, /* reserved; MRCONFIGID, MROWNER */
        {672, 48}, {912, 48}, {960, 64}, /* MROWNERCONFIG; SERVTD_HASH, reserved */
    };
    static const uint8_t svn[16] = {0, 1};
    uint8_t *report = ram + REPORT, digest[SHA384_SIZE];
    struct sha384_hmac key;

    assert_int_equal(tdx_mr_report(&reporter, &td, &memory, REPORT, DATA, 0, &fault), 0);
    assert_int_equal(report[0], 0x81);
    for (unsigned i = 0; i < ARRAY_SIZE(zero); i++) {
        if (!is_zero(report + zero[i].offset, zero[i].size))
            fail_msg("the %u bytes at %u are not zero", zero[i].size, zero[i].offset);
    }
    sha384(report + 256, 239, digest);
    assert_memory_equal(report + 32, digest, 48);
    sha384(report + 512, 512, digest);
    assert_memory_equal(report + 80, digest, 48);
    assert_memory_equal(report + 128, ram + DATA, 64);
    sha384_hmac_init(&key, "the secret of this boot", 23);
    sha384_hmac(&key, report, 224, digest);
    assert_memory_equal(report + 224, digest, 32);

    assert_memory_equal(report + 256, "\xff\xff\x03\0\0\0\0\0", 8);
    assert_memory_equal(report + 264, svn, 16);
    assert_string_equal((char *)report + 280, "eptvisor, which is not Intel's TDX module");
    assert_string_equal((char *)report + 328, "nobody has signed this, least of all Intel");
    assert_memory_equal(report + 384, svn, 16);

    assert_memory_equal(report + 512, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
    assert_memory_equal(report + 520, "\xe7\0\0\0\0\0\0\0", 8);
    assert_memory_equal(report + 528, measurement.mrtd, 48);
    assert_memory_equal(report + 720, measurement.rtmr, 4 * 48);
}

/* The bytes around the report, and everything else in memory, stay as they are. */
static void only_the_report_is_written(void **state)
{
    (void)state;
    static uint8_t before[RAM_SIZE];

    memcpy(before, ram, sizeof(ram));
    assert_int_equal(tdx_mr_report(&reporter, &td, &memory, REPORT, DATA, 0, &fault), 0);
    assert_int_equal(accesses, 2);
    assert_memory_equal(ram, before, REPORT);
    assert_memory_equal(ram + REPORT + 1024, before + REPORT + 1024, RAM_SIZE - REPORT - 1024);
}

/* The data may lie where the report is written to, and both at shared addresses. */
static void operands_may_overlap_and_be_shared(void **state)
{
    (void)state;
    uint8_t data[64];

    memcpy(data, ram + REPORT + 192, sizeof(data));
    assert_int_equal(tdx_mr_report(&reporter, &td, &memory, SHARED_BIT | REPORT,
                                   SHARED_BIT | (REPORT + 192), 0, &fault),
                     0);
    assert_memory_equal(ram + REPORT + 128, data, sizeof(data));
}

enum leaf { MR_REPORT, MR_VERIFYREPORT, MR_RTMR_EXTEND };

static uint64_t call(enum leaf leaf, uint64_t rcx, uint64_t rdx, uint64_t r8)
{
    if (leaf == MR_REPORT)
        return tdx_mr_report(&reporter, &td, &memory, rcx, rdx, r8, &fault);
    if (leaf == MR_VERIFYREPORT)
        return tdx_mr_verifyreport(&reporter, &td, &memory, rcx, &fault);
    return tdx_mr_rtmr_extend(&td, &memory, rcx, rdx, &fault);
}

/* A refused call writes nothing. If two operands are wrong, the order of the module's checks
 * decides which one is reported. */
static void operands_are_checked(void **state)
{
    (void)state;
    static const struct {
        enum leaf leaf;
        uint64_t rcx, rdx, r8, status;
    } rows[] = {
        {MR_REPORT, REPORT + 512, DATA, 0, TDX_OPERAND_INVALID | 1},
        {MR_REPORT, REPORT + 1, DATA + 1, 1, TDX_OPERAND_INVALID | 1},
        {MR_REPORT, REPORT, DATA + 32, 0, TDX_OPERAND_INVALID | 2},
        {MR_REPORT, REPORT, DATA + 1, 1, TDX_OPERAND_INVALID | 2},
        {MR_REPORT, REPORT, DATA | BIT(40), 0, TDX_OPERAND_INVALID | 2},
        {MR_REPORT, REPORT | BIT(40), DATA | BIT(63), 1, TDX_OPERAND_INVALID | 2},
        {MR_REPORT, REPORT, DATA, 1, TDX_OPERAND_INVALID | 8},
        {MR_REPORT, REPORT, DATA, BIT(8), TDX_OPERAND_INVALID | 8},
        {MR_REPORT, REPORT, DATA, BIT(63), TDX_OPERAND_INVALID | 8},
        {MR_REPORT, REPORT | BIT(40), DATA, 1, TDX_OPERAND_INVALID | 8},
        {MR_REPORT, REPORT | BIT(40), DATA, 0, TDX_OPERAND_INVALID | 1},
        {MR_REPORT, REPORT | BIT(63), DATA, 0, TDX_OPERAND_INVALID | 1},
        {MR_VERIFYREPORT, REPORT + 128, OTHER, OTHER, TDX_OPERAND_INVALID | 1},
        {MR_VERIFYREPORT, REPORT + 1, OTHER, OTHER, TDX_OPERAND_INVALID | 1},
        {MR_VERIFYREPORT, REPORT | SHARED_BIT, OTHER, OTHER, TDX_OPERAND_INVALID | 1},
        {MR_VERIFYREPORT, REPORT | BIT(63), OTHER, OTHER, TDX_OPERAND_INVALID | 1},
        {MR_RTMR_EXTEND, DATA + 32, 0, OTHER, TDX_OPERAND_INVALID | 1},
        {MR_RTMR_EXTEND, DATA + 1, 4, OTHER, TDX_OPERAND_INVALID | 1},
        {MR_RTMR_EXTEND, DATA | SHARED_BIT, 4, OTHER, TDX_OPERAND_INVALID | 1},
        {MR_RTMR_EXTEND, DATA | BIT(51), 0, OTHER, TDX_OPERAND_INVALID | 1},
        {MR_RTMR_EXTEND, DATA, 4, OTHER, TDX_OPERAND_INVALID | 2},
        {MR_RTMR_EXTEND, DATA, BIT(32), OTHER, TDX_OPERAND_INVALID | 2},
        {MR_RTMR_EXTEND, DATA, BIT(63), OTHER, TDX_OPERAND_INVALID | 2},
    };
    static uint8_t before[RAM_SIZE];
    struct td_measurement old = measurement;

    memcpy(before, ram, sizeof(ram));
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t status = call(rows[i].leaf, rows[i].rcx, rows[i].rdx, rows[i].r8);
        if (status != rows[i].status)
            fail_msg("row %u: %#lx", i, status);
    }
    assert_memory_equal(ram, before, sizeof(ram));
    assert_memory_equal(&measurement, &old, sizeof(old));
}

/* An operand that cannot be accessed is reported with its address and what was wanted, and the
 * leaves do not look at what comes later. */
static void memory_that_is_not_there(void **state)
{
    (void)state;
    static const struct {
        enum leaf leaf;
        uint64_t rcx, rdx, r8, at;
        bool write;
    } rows[] = {
        {MR_REPORT, REPORT, DATA, 1, DATA, false},
        {MR_REPORT, REPORT | BIT(40), DATA | SHARED_BIT, 0, DATA | SHARED_BIT, false},
        {MR_REPORT, REPORT | SHARED_BIT, DATA, 0, REPORT | SHARED_BIT, true},
        {MR_REPORT, 0x800000, DATA, 0, 0x800000, true},
        {MR_VERIFYREPORT, REPORT, OTHER, OTHER, REPORT, false},
        {MR_RTMR_EXTEND, DATA, 4, OTHER, DATA, false},
    };
    static uint8_t before[RAM_SIZE];
    struct td_measurement old = measurement;

    memcpy(before, ram, sizeof(ram));
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        refused = rows[i].at;
        assert_int_equal(call(rows[i].leaf, rows[i].rcx, rows[i].rdx, rows[i].r8),
                         TDX_OPERAND_FAULT);
        assert_int_equal(fault.gpa.v, rows[i].at);
        assert_int_equal(fault.write, rows[i].write);
        assert_int_equal(fault.error, -EACCES);
    }
    assert_memory_equal(ram, before, sizeof(ram));
    assert_memory_equal(&measurement, &old, sizeof(old));
}

static void a_report_verifies_until_a_bit_flips(void **state)
{
    (void)state;
    assert_int_equal(tdx_mr_report(&reporter, &td, &memory, REPORT, DATA, 0, &fault), 0);
    assert_int_equal(tdx_mr_verifyreport(&reporter, &td, &memory, REPORT, &fault), 0);
    for (unsigned bit = 0; bit < 256 * 8; bit++) {
        bool cpusvn = bit / 8 >= 16 && bit / 8 < 32;
        uint64_t expected = cpusvn ? TDX_INVALID_CPUSVN : TDX_INVALID_REPORTMACSTRUCT;
        ram[REPORT + bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (tdx_mr_verifyreport(&reporter, &td, &memory, REPORT, &fault) != expected)
            fail_msg("bit %u", bit);
        ram[REPORT + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(tdx_mr_verifyreport(&reporter, &td, &memory, REPORT, &fault), 0);
}

/* A quote contains fields that the MAC alone does not protect, so each bit of the whole report is
 * checked there. */
static void a_whole_report_is_ours_until_a_bit_flips(void **state)
{
    (void)state;
    struct tdx_report report;
    uint8_t *bytes = (uint8_t *)&report;

    tdx_report_make(&reporter, &td, ram, &report);
    assert_true(tdx_report_is_ours(&reporter, &report));
    for (unsigned bit = 0; bit < sizeof(report) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (tdx_report_is_ours(&reporter, &report))
            fail_msg("bit %u", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(tdx_report_is_ours(&reporter, &report));
}

static void another_boot_refuses_it(void **state)
{
    (void)state;
    assert_int_equal(tdx_mr_report(&reporter, &td, &memory, REPORT, DATA, 0, &fault), 0);
    tdx_reporter_init(&reporter, "the secret of that boot", 23);
    assert_int_equal(tdx_mr_verifyreport(&reporter, &td, &memory, REPORT, &fault),
                     TDX_INVALID_REPORTMACSTRUCT);
}

/* Another TD of this boot can verify the report, and each TD gets its own. */
static void another_td_verifies_it(void **state)
{
    (void)state;
    struct tdx_report report, other_report;
    struct td_measurement other = measurement;
    struct td other_td = td;

    other_td.measurement = &other;
    tdx_rtmr_extend(&other, 3, ram);
    tdx_report_make(&reporter, &td, ram, &report);
    tdx_report_make(&reporter, &other_td, ram, &other_report);
    assert_memory_not_equal(report.mac.mac, other_report.mac.mac, sizeof(report.mac.mac));
    memcpy(ram + REPORT, &report, sizeof(report));
    assert_int_equal(tdx_mr_verifyreport(&reporter, &other_td, &memory, REPORT, &fault), 0);
}

static void an_rtmr_is_extended(void **state)
{
    (void)state;
    uint8_t expected[TDX_RTMRS][SHA384_SIZE];
    struct td_measurement alone = measurement;

    for (uint64_t index = 0; index < TDX_RTMRS; index++) {
        tdx_rtmr_extend(&alone, (unsigned)index, ram + DATA);
        tdx_rtmr_read(&alone, expected);
        assert_int_equal(tdx_mr_rtmr_extend(&td, &memory, DATA, index, &fault), 0);
        assert_memory_equal(measurement.rtmr, expected, sizeof(expected));
    }
    assert_int_equal(accesses, TDX_RTMRS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_field_is_in_its_place, setup),
        cmocka_unit_test_setup(only_the_report_is_written, setup),
        cmocka_unit_test_setup(operands_may_overlap_and_be_shared, setup),
        cmocka_unit_test_setup(operands_are_checked, setup),
        cmocka_unit_test_setup(memory_that_is_not_there, setup),
        cmocka_unit_test_setup(a_report_verifies_until_a_bit_flips, setup),
        cmocka_unit_test_setup(a_whole_report_is_ours_until_a_bit_flips, setup),
        cmocka_unit_test_setup(another_boot_refuses_it, setup),
        cmocka_unit_test_setup(another_td_verifies_it, setup),
        cmocka_unit_test_setup(an_rtmr_is_extended, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
