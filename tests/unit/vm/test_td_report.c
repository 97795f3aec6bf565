/* SPDX-License-Identifier: MIT */
/*
 * The accesses of the report leaves to the VM (vm/td_report.c): an operand is accessed on the side
 * that its address names, and an access that the side refuses is a fault of that operand. Also the
 * key, which all TDs of a boot share and whose quality a message states, and the lines about a TD
 * in the VM's report.
 */
#include "tests/unit/support.h"

#include "vm/td_report.c"

#include "ept/tdx_status.h"
#include "lib/errno.h"
#include "mmu/mmu.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHARED_BIT BIT(39)
#define RAM_SIZE   0x4000u
#define DATA       0x1040u
#define REPORT     0x2400u

/* ---- What the file uses ---------------------------------------------------------------------- */

static struct vm vm;
static struct td td;
static struct td_measurement measurement;

/* The two sides have different contents at the same addresses. */
static struct side {
    uint8_t ram[RAM_SIZE];
    unsigned reads, writes;
    bool refuses;
} private, shared;

static int side_access(const struct side *side, uint64_t at, size_t size)
{
    return side->refuses || at >= RAM_SIZE || size > RAM_SIZE - at ? -EACCES : 0;
}

static int side_read(struct side *side, uint64_t at, void *buffer, size_t size)
{
    int error = side_access(side, at, size);
    side->reads++;
    if (!error)
        memcpy(buffer, side->ram + at, size);
    return error;
}

static int side_write(struct side *side, uint64_t at, const void *buffer, size_t size)
{
    int error = side_access(side, at, size);
    side->writes++;
    if (!error)
        memcpy(side->ram + at, buffer, size);
    return error;
}

/* It gets no address with the shared bit, and guest_read() no other one. */
int td_private_read(struct vm *of, gpa_t gpa, void *buffer, size_t size)
{
    assert_ptr_equal(of, &vm);
    assert_false(gpa.v & SHARED_BIT);
    return side_read(&private, gpa.v, buffer, size);
}

int td_private_write(struct vm *of, gpa_t gpa, const void *buffer, size_t size)
{
    assert_ptr_equal(of, &vm);
    assert_false(gpa.v & SHARED_BIT);
    return side_write(&private, gpa.v, buffer, size);
}

int guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size, enum mmu_access access)
{
    assert_ptr_equal(mmu, &vm.mmu);
    assert_int_equal(access, ACCESS_READ);
    assert_true(gpa.v & SHARED_BIT);
    return side_read(&shared, gpa.v & ~SHARED_BIT, buffer, size);
}

int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    assert_ptr_equal(mmu, &vm.mmu);
    assert_true(gpa.v & SHARED_BIT);
    return side_write(&shared, gpa.v & ~SHARED_BIT, buffer, size);
}

static unsigned keys;      /* how often a key was made */
static bool source_exists; /* a generator of random numbers */
static bool source_works;

static bool no_number(uint64_t *value)
{
    (void)value;
    fail_msg("only entropy_key() uses the generator");
    return false;
}

struct entropy_source entropy_source_of_this_cpu(void)
{
    return (struct entropy_source){
        .name = source_exists ? "RDSEED" : "no random number generator",
        .generator = source_exists ? no_number : NULL,
    };
}

bool entropy_key(const struct entropy_source *source, uint8_t key[SHA384_SIZE])
{
    assert_string_equal(source->name, source_exists ? "RDSEED" : "no random number generator");
    memset(key, (int)++keys, SHA384_SIZE);
    return source_works;
}

static char lines[2048]; /* the VM's report */

void transcript_line(struct transcript *transcript, const char *format, ...)
{
    size_t used = strlen(lines);
    va_list arguments;
    assert_ptr_equal(transcript, vm.console.transcript);
    va_start(arguments, format);
    used += (size_t)vsnprintf(lines + used, sizeof(lines) - used, format, arguments);
    va_end(arguments);
    assert_true(used + 2 < sizeof(lines));
    strcpy(lines + used, "\n");
}

/* A new boot, and a VM that is a TD. */
static int setup(void **state)
{
    (void)state;
    memset(&vm, 0, sizeof(vm));
    memset(&private, 0, sizeof(private));
    memset(&shared, 0, sizeof(shared));
    memset(&reporter, 0, sizeof(reporter));
    reporter_ready = false;
    keys = 0;
    source_exists = source_works = true;
    lines[0] = 0;
    for (unsigned i = 0; i < RAM_SIZE; i++) {
        private.ram[i] = (uint8_t)(i * 31 + i / 256);
        shared.ram[i] = (uint8_t)(i * 7 + 3);
    }
    tdx_measure_init(&measurement);
    tdx_measure_page(&measurement, GPA(0x1000));
    tdx_measure_finalise(&measurement);
    td = (struct td){.gpa_width = TD_GPA_WIDTH, .measurement = &measurement, .finalised = true};
    vm.td = &td;
    strcpy(vm.name, "the-td");
    return 0;
}

/* ---- Sides ----------------------------------------------------------------------------------- */

/* Each operand of MR.REPORT on each side. */
static void operands_are_on_their_sides(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t to = i & 1 ? SHARED_BIT : 0, from = i & 2 ? SHARED_BIT : 0;
        struct side *written = to ? &shared : &private, *read = from ? &shared : &private;
        struct side *other = to ? &private : &shared;
        static uint8_t before[RAM_SIZE];
        struct tdx_operand_fault fault;

        setup(state);
        td_reporter_prepare();
        memcpy(before, other->ram, RAM_SIZE);
        assert_int_equal(td_mr_report(&vm, REPORT | to, DATA | from, 0, &fault), TDX_SUCCESS);
        assert_memory_equal(written->ram + REPORT + 128, read->ram + DATA, TDX_REPORT_DATA);
        assert_memory_equal(other->ram, before, RAM_SIZE);
        assert_int_equal(written->writes, 1);
        assert_int_equal(other->writes, 0);
        assert_int_equal(read->reads, 1);
    }
}

/* The fault names the operand as the TD gave it, and whether it was written. */
static void what_a_side_refuses_is_a_fault(void **state)
{
    static const struct {
        uint64_t report, data;
        struct side *refuses;
        uint64_t gpa; /* of the fault; 0: there is none */
        bool write;
    } rows[] = {
        {REPORT, DATA, &private, DATA, false},
        {REPORT, DATA | SHARED_BIT, &private, REPORT, true},
        {REPORT, DATA | SHARED_BIT, &shared, DATA | SHARED_BIT, false},
        {REPORT | SHARED_BIT, DATA, &shared, REPORT | SHARED_BIT, true},
        {REPORT | SHARED_BIT, DATA, &private, DATA, false},
        {REPORT, DATA, &shared, 0, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct tdx_operand_fault fault = {0};

        setup(state);
        td_reporter_prepare();
        rows[i].refuses->refuses = true;
        uint64_t status = td_mr_report(&vm, rows[i].report, rows[i].data, 0, &fault);
        const bool right = fault.gpa.v == rows[i].gpa && fault.write == rows[i].write;
        if (status != (rows[i].gpa ? TDX_OPERAND_FAULT : TDX_SUCCESS) || (rows[i].gpa && !right))
            fail_msg("row %u: status %#lx, GPA %#lx, write %u", i, status, fault.gpa.v,
                     fault.write);
    }
}

static void an_rtmr_is_extended_by_private_bytes(void **state)
{
    (void)state;
    struct tdx_operand_fault fault;
    uint8_t before[TDX_RTMRS][SHA384_SIZE], after[TDX_RTMRS][SHA384_SIZE];
    uint8_t both[2 * SHA384_SIZE] = {0}, digest[SHA384_SIZE];

    tdx_rtmr_read(&measurement, before);
    assert_int_equal(td_mr_rtmr_extend(&vm, DATA, 2, &fault), TDX_SUCCESS);
    tdx_rtmr_read(&measurement, after);
    memcpy(both + SHA384_SIZE, private.ram + DATA, SHA384_SIZE);
    sha384(both, sizeof(both), digest);
    assert_memory_equal(after[2], digest, SHA384_SIZE);
    memcpy(after[2], before[2], SHA384_SIZE);
    assert_memory_equal(after, before, sizeof(after));
    assert_int_equal(td_mr_rtmr_extend(&vm, DATA | SHARED_BIT, 2, &fault),
                     TDX_OPERAND_INVALID | TDX_OPERAND_RCX);
    private.refuses = true;
    assert_int_equal(td_mr_rtmr_extend(&vm, DATA, 2, &fault), TDX_OPERAND_FAULT);
    assert_int_equal(fault.gpa.v, DATA);
}

/* ---- The key --------------------------------------------------------------------------------- */

static void make_report(void)
{
    struct tdx_operand_fault fault;
    assert_int_equal(td_mr_report(&vm, REPORT, DATA, 0, &fault), TDX_SUCCESS);
}

static uint64_t verify_report(void)
{
    struct tdx_operand_fault fault;
    return td_mr_verifyreport(&vm, REPORT, &fault);
}

static void tds_of_a_boot_have_one_key(void **state)
{
    (void)state;
    td_reporter_prepare();
    make_report();
    assert_int_equal(verify_report(), TDX_SUCCESS);
    td_reporter_prepare(); /* of another TD */
    assert_int_equal(keys, 1);
    assert_int_equal(verify_report(), TDX_SUCCESS);
    private.ram[REPORT + 130] ^= 1;
    assert_int_not_equal(verify_report(), TDX_SUCCESS);
}

static void another_boot_has_another_key(void **state)
{
    (void)state;
    td_reporter_prepare();
    make_report();
    reporter_ready = false;
    td_reporter_prepare();
    assert_int_equal(keys, 2);
    assert_int_not_equal(verify_report(), TDX_SUCCESS);
    make_report();
    assert_int_equal(verify_report(), TDX_SUCCESS);
}

static void the_message_says_how_good_the_key_is(void **state)
{
    static const struct {
        bool exists, works;
        const char *text;
    } rows[] = {
        {true, true, "tdx: the key of this boot's reports is made of RDSEED and the TSC"},
        {true, false,
         "tdx: the key of this boot's reports is made of the TSC alone (RDSEED does "
         "not work), and can be guessed"},
        {false, false,
         "tdx: the key of this boot's reports is made of the TSC alone (no random "
         "number generator here), and can be guessed"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(state);
        support_reset();
        source_exists = rows[i].exists;
        source_works = rows[i].works;
        td_reporter_prepare();
        if (!strstr(support_log(), rows[i].text))
            fail_msg("row %u: %s", i, support_log());
        make_report();
        assert_int_equal(verify_report(), TDX_SUCCESS);
    }
}

/* ---- GetQuote, and the VM's report ----------------------------------------------------------- */

static uint64_t quote_status(bool available)
{
    static const uint32_t in_size = 1024;
    uint64_t status;

    td_reporter_prepare();
    make_report();
    vm.words.quote = available ? QUOTE_TEST : QUOTE_NONE;
    memset(shared.ram, 0, RAM_SIZE);
    shared.ram[0] = 1; /* version */
    memcpy(shared.ram + 16, &in_size, sizeof(in_size));
    memcpy(shared.ram + 24, private.ram + REPORT, in_size);
    assert_true(td_get_quote(&vm, SHARED_BIT, RAM_SIZE));
    memcpy(&status, shared.ram + 8, sizeof(status));
    return status;
}

static void a_quote_needs_its_word(void **state)
{
    (void)state;
    assert_int_equal(quote_status(false), TDX_QUOTE_UNAVAILABLE);
    assert_int_equal(quote_status(true), TDX_QUOTE_SUCCESS);
    assert_false(td_get_quote(&vm, 0, RAM_SIZE)); /* a private buffer */
    shared.refuses = true;
    assert_false(td_get_quote(&vm, SHARED_BIT, RAM_SIZE));
}

static void the_report_lists_what_was_measured(void **state)
{
    (void)state;
    char expected[300], *at = expected;

    td_report_measurements(&vm);
    at += sprintf(at, "# the-td: MRTD ");
    for (unsigned i = 0; i < SHA384_SIZE; i++)
        at += sprintf(at, "%02x", measurement.mrtd[i]);
    sprintf(at, "\n");
    assert_string_equal(lines, expected);

    tdx_rtmr_extend(&measurement, 0, private.ram);
    tdx_rtmr_extend(&measurement, 3, private.ram);
    lines[0] = 0;
    td_report_measurements(&vm);
    assert_non_null(strstr(lines, "\n# the-td: RTMR0 "));
    assert_null(strstr(lines, "RTMR1"));
    assert_null(strstr(lines, "RTMR2"));
    assert_non_null(strstr(lines, "\n# the-td: RTMR3 "));
}

static void the_report_says_nothing_of_others(void **state)
{
    vm.words.measure = MEASURE_OFF;
    td_report_measurements(&vm);
    setup(state);
    td.finalised = false;
    td_report_measurements(&vm);
    setup(state);
    vm.td = NULL;
    td_report_measurements(&vm);
    assert_string_equal(lines, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(operands_are_on_their_sides, setup),
        cmocka_unit_test_setup(what_a_side_refuses_is_a_fault, setup),
        cmocka_unit_test_setup(an_rtmr_is_extended_by_private_bytes, setup),
        cmocka_unit_test_setup(tds_of_a_boot_have_one_key, setup),
        cmocka_unit_test_setup(another_boot_has_another_key, setup),
        cmocka_unit_test_setup(the_message_says_how_good_the_key_is, setup),
        cmocka_unit_test_setup(a_quote_needs_its_word, setup),
        cmocka_unit_test_setup(the_report_lists_what_was_measured, setup),
        cmocka_unit_test_setup(the_report_says_nothing_of_others, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
