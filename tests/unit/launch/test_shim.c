/* SPDX-License-Identifier: MIT */
/*
 * The boot shim against a model of the TDX module: afterwards all of the TD's memory is accepted,
 * and nothing else, in pages as large as possible; the RTMRs are extended by the right digests in
 * the right order; and each failure is reported to the host with a message.
 */
#include "tests/unit/support.h"

#include "ept/tdx_status.h"
#include "guest/shim/shim.h"
#include "lib/bits.h"
#include "lib/sha384.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB   (1ull << 20)
#define PAGES (64 * MIB / 4096) /* that the model knows */
#define HIGH  (1ull << 32)      /* the second half of them begins here */
#define MASK  0xffccu
#define GPAW  40u

enum state { PENDING, ADDED, ACCEPTED_4K, ACCEPTED_2M };

static enum state pages[PAGES];
static unsigned busy; /* number of ACCEPTs that find the page busy */
static unsigned calls[8], extended;
static struct {
    unsigned rtmr;
    uint8_t digest[SHA384_SIZE];
} extensions[SHIM_ITEMS];
static struct shim_parameters parameters;
static jmp_buf over;
static char message[65];
static uint64_t entered[2];

/* The call that fails, counted from 1, and its status. */
static struct {
    unsigned leaf, call;
    uint64_t status;
} failure;

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(pages, 0, sizeof(pages));
    memset(calls, 0, sizeof(calls));
    memset(&failure, 0, sizeof(failure));
    memset(message, 0, sizeof(message));
    memset(entered, 0, sizeof(entered));
    extended = busy = 0;
    parameters = (struct shim_parameters){
        .magic = SHIM_MAGIC, .version = SHIM_VERSION, .vcpus = 1, .entry = 0x1000200};
    parameters.zero_page = 0x10000;
    return 0;
}

/* ---- The model of the module ----------------------------------------------------------------- */

static enum state *page_at(uint64_t gpa)
{
    uint64_t page = gpa >> 12;
    if (gpa >= HIGH)
        page += PAGES / 2 - (HIGH >> 12);
    assert_true(page < PAGES);
    return &pages[page];
}

static uint64_t gpa_of(uint64_t page)
{
    return (page << 12) + (page < PAGES / 2 ? 0 : HIGH - (PAGES / 2 << 12));
}

static uint64_t accept(uint64_t operand)
{
    const uint64_t level = operand & 7, size = level ? 2 * MIB : 4096, gpa = operand & ~0xfffull;
    assert_in_range(level, 0, 1);
    assert_int_equal(operand & 0xff8, 0);
    assert_int_equal(gpa & (size - 1), 0);
    bool small = false;
    if (busy) {
        busy--;
        return TDX_OPERAND_BUSY | 1;
    }
    for (uint64_t at = gpa; at < gpa + size; at += 4096)
        small |= *page_at(at) == ADDED || *page_at(at) == ACCEPTED_4K;
    if (*page_at(gpa) == ACCEPTED_2M)
        return level ? TDX_PAGE_ALREADY_ACCEPTED | 1 : TDX_PAGE_SIZE_MISMATCH | 1;
    if (level && small)
        return TDX_PAGE_SIZE_MISMATCH | 1;
    if (*page_at(gpa) != PENDING)
        return TDX_PAGE_ALREADY_ACCEPTED | 1;
    for (uint64_t at = gpa; at < gpa + size; at += 4096)
        *page_at(at) = level ? ACCEPTED_2M : ACCEPTED_4K;
    return 0;
}

static void fatal(const struct td_registers *r)
{
    const uint64_t text[8] = {r->r14, r->r15, r->rbx, r->rdi, r->rsi, r->r8, r->r9, r->rdx};
    assert_int_equal(r->rcx, MASK);
    assert_int_equal(r->r10, 0);
    assert_int_equal(r->r11, 0x10003);
    assert_int_equal(r->r12, 0);
    memcpy(message, text, sizeof(text));
    longjmp(over, 1);
}

void execute_tdcall(struct td_registers *r)
{
    const uint64_t leaf = r->rax;
    assert_in_range(leaf, 0, 6);
    r->rax = 0;
    if (++calls[leaf] == failure.call && leaf == failure.leaf) {
        r->rax = failure.status;
        return;
    }
    switch (leaf) {
    case 0:
        fatal(r);
        break;
    case 1:
        r->rcx = GPAW;
        break;
    case 2:
        assert_int_equal(r->rcx % 64, 0);
        extensions[extended].rtmr = (unsigned)r->rdx;
        memcpy(extensions[extended++].digest, (const void *)(uintptr_t)r->rcx, SHA384_SIZE);
        break;
    case 6:
        r->rax = accept(r->rcx);
        break;
    default:
        fail_msg("leaf %lu", leaf);
    }
}

void shim_enter(uint64_t entry, uint64_t zero_page)
{
    entered[0] = entry;
    entered[1] = zero_page;
    longjmp(over, 1);
}

static void run(void)
{
    if (!setjmp(over))
        shim_main(&parameters);
}

static void add_range(uint64_t base, uint64_t size)
{
    parameters.ranges[parameters.range_count++] = (struct shim_range){base, size};
}

static void expect_kernel(void)
{
    assert_string_equal(message, "");
    assert_int_equal(entered[0], 0x1000200);
    assert_int_equal(entered[1], 0x10000);
}

static void expect_message(const char *text)
{
    assert_string_equal(message, text);
    assert_int_equal(entered[0], 0);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static bool in_ranges(uint64_t gpa)
{
    for (unsigned i = 0; i < parameters.range_count; i++)
        if (gpa - parameters.ranges[i].base < parameters.ranges[i].size)
            return true;
    return false;
}

static void check_memory(void)
{
    for (uint64_t i = 0; i < PAGES; i++) {
        bool accepted = pages[i] != PENDING;
        if (in_ranges(gpa_of(i)) != accepted)
            fail_msg("page %#lx has state %u", gpa_of(i), pages[i]);
    }
}

static void all_memory_is_accepted(void **state)
{
    (void)state;
    add_range(0, 0xa0000);
    add_range(0xc0000, 30 * MIB - 0xc0000);
    add_range(HIGH, 6 * MIB);
    for (unsigned i = 0x10; i < 0x15; i++)
        pages[i] = ADDED; /* the boot parameters */
    for (unsigned i = 0x1000; i < 0x1234; i++)
        pages[i] = ADDED; /* a kernel at 16 MiB: all of 2 MiB, and part of the next */
    run();
    expect_kernel();
    check_memory();
    assert_int_equal(pages[0x200], ACCEPTED_2M);
    assert_int_equal(pages[PAGES / 2 + 0x400], ACCEPTED_2M);
    assert_int_equal(pages[0x1234], ACCEPTED_4K);
    assert_int_equal(pages[0x1400], ACCEPTED_2M);
    /* Pages of 2 MiB from 2 to 30 MiB and in the last 6 MiB; pages of 4 KiB from 0 to 2 MiB and in
     * two ranges of 2 MiB. */
    assert_int_equal(calls[6], 14 + 3 + (0x200 - 0x20) + 2 * 0x200);
    assert_int_equal(extended, 0);
}

/* Random ranges with random pages of the initial image in them. */
static void any_ranges(void **state)
{
    srandom(7);
    for (unsigned n = 0; n < 300; n++) {
        setup(state);
        uint64_t at = 0;
        for (unsigned i = 0; i < 3; i++) {
            uint64_t base = at + ((uint64_t)random() % 0x300 << 12);
            uint64_t size = (uint64_t)random() % 0x700 << 12;
            add_range(base, size);
            at = base + size;
        }
        add_range(HIGH + ((uint64_t)random() % 0x300 << 12), (uint64_t)random() % 0x1c00 << 12);
        for (uint64_t i = 0; i < PAGES; i++)
            if (random() % 1000 == 0 && in_ranges(gpa_of(i)))
                pages[i] = ADDED;
        run();
        expect_kernel();
        check_memory();
    }
}

static void refused_memory(void **state)
{
    static const struct {
        unsigned call;
        uint64_t status;
        const char *text; /* NULL: it starts the kernel */
    } rows[] = {
        {1, TDX_OPERAND_BUSY | 1, NULL},
        {1, TDX_PAGE_ALREADY_ACCEPTED, NULL},
        {3, TDX_PAGE_SIZE_MISMATCH | 2, NULL},
        {1, TDX_OPERAND_INVALID | 1, "shim: ACCEPT of 2 MiB at 0: 0xc000010000000000"},
        {2, TDX_EPT_WALK_FAILED | 7, "shim: ACCEPT of 2 MiB at 0x200000: 0xc0000b0000000000"},
        {5, TDX_OPERAND_INVALID, "shim: ACCEPT of 4 KiB at 0x800000: 0xc000010000000000"},
        {6, TDX_PAGE_SIZE_MISMATCH, "shim: ACCEPT of 4 KiB at 0x801000: 0xc0000b0b00000000"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(state);
        add_range(0, 8 * MIB + 0x2000);
        failure.leaf = 6;
        failure.call = rows[i].call;
        failure.status = rows[i].status;
        run();
        if (rows[i].text)
            expect_message(rows[i].text);
        else
            expect_kernel();
    }
}

/* The host may keep a page busy for a while, but not for ever. */
static void busy_pages(void **state)
{
    static const struct {
        unsigned calls;
        const char *text;
    } rows[] = {{3, ""}, {~0u, "shim: ACCEPT of 4 KiB at 0x1000: 0x8000020000000000"}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(state);
        add_range(0x1000, 0x1000);
        busy = rows[i].calls;
        run();
        assert_string_equal(message, rows[i].text);
        assert_int_equal(*page_at(0x1000), i ? PENDING : ACCEPTED_4K);
    }
}

static void bad_parameters(void **state)
{
    static const struct {
        struct shim_range range;
        const char *text;
    } rows[] = {
        {{0x800, 0x1000}, "shim: bad range of memory, 0x800 to 0x1800"},
        {{0x1000, 0x800}, "shim: bad range of memory, 0x1000 to 0x1800"},
        {{BIT(39) - 0x1000, 0x2000}, "shim: bad range of memory, 0x7ffffff000 to 0x8000001000"},
        {{~0xfffull, 0x2000}, "shim: bad range of memory, 0xfffffffffffff000 to 0x1000"},
    };
    char text[65];
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(state);
        parameters.ranges[0] = rows[i].range;
        parameters.range_count = 1;
        run();
        expect_message(rows[i].text);
        assert_int_equal(calls[6], 0);
    }
    snprintf(text, sizeof(text), "shim: bad parameters at %p", (void *)&parameters);
    for (unsigned i = 0; i < 4; i++) {
        setup(state);
        if (i == 0)
            parameters.magic++;
        if (i == 1)
            parameters.version++;
        if (i == 2)
            parameters.range_count = SHIM_RANGES + 1;
        if (i == 3)
            parameters.item_count = SHIM_ITEMS + 1;
        run();
        expect_message(text);
    }
    setup(state);
    failure.leaf = failure.call = 1;
    failure.status = TDX_OPERAND_INVALID;
    run();
    expect_message("shim: VP.INFO: 0xc000010000000000");
}

/* ---- Measurement ----------------------------------------------------------------------------- */

static void items_are_measured_in_order(void **state)
{
    (void)state;
    static uint8_t contents[3][5000];
    static const unsigned rtmrs[] = {1, 2, 0, 2};
    static const size_t sizes[] = {5000, 19, 0, 1234};
    for (unsigned i = 0; i < 3; i++)
        memset(contents[i], (int)i + 1, sizeof(contents[i]));
    for (unsigned i = 0; i < 4; i++)
        parameters.items[i] = (struct shim_item){
            .base = (uintptr_t)contents[i % 3], .size = sizes[i], .rtmr = rtmrs[i]};
    parameters.item_count = 4;
    run();
    expect_kernel();
    assert_int_equal(extended, 4);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t want[SHA384_SIZE];
        sha384(contents[i % 3], sizes[i], want);
        assert_int_equal(extensions[i].rtmr, rtmrs[i]);
        assert_memory_equal(extensions[i].digest, want, sizeof(want));
    }

    extended = 0;
    calls[2] = 0;
    entered[0] = 0;
    failure.leaf = failure.call = 2;
    failure.status = TDX_OPERAND_INVALID | 2;
    run();
    expect_message("shim: RTMR.EXTEND of RTMR 2: 0xc000010000000002");
}

static void exceptions_are_reported(void **state)
{
    (void)state;
    if (!setjmp(over))
        shim_trap(14, 2, 0xffffa123);
    expect_message("shim: exception 14, error code 0x2, RIP 0xffffa123");
    if (!setjmp(over))
        shim_trap(20, ~0ull, ~0ull); /* the longest */
    assert_int_equal(strlen(message), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_memory_is_accepted, setup),
        cmocka_unit_test_setup(any_ranges, setup),
        cmocka_unit_test_setup(refused_memory, setup),
        cmocka_unit_test_setup(busy_pages, setup),
        cmocka_unit_test_setup(bad_parameters, setup),
        cmocka_unit_test_setup(items_are_measured_in_order, setup),
        cmocka_unit_test_setup(exceptions_are_reported, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
