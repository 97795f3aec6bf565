/* SPDX-License-Identifier: MIT */
/* The GHCI's hypercalls (rules X6 and X7): each check in a table. */
#include "tests/unit/vm/ghci_world.h"

/* Fills every register with a different value, before the leaf's arguments are set. */
static void fill(uint64_t leaf, uint64_t r12, uint64_t r13, uint64_t r14, uint64_t r15)
{
    for (unsigned i = 0; i < GPR_COUNT; i++)
        gpr[i] = 0xabcd000000000000 | i;
    gpr[GPR_RAX] = 0;
    gpr[GPR_RCX] = EXPOSE;
    gpr[GPR_R10] = 0;
    gpr[GPR_R11] = leaf;
    gpr[GPR_R12] = r12;
    gpr[GPR_R13] = r13;
    gpr[GPR_R14] = r14;
    gpr[GPR_R15] = r15;
}

/* Makes the call, and asserts that only registers of the mask have changed. */
static void call_changing(uint32_t mask)
{
    uint64_t before[GPR_COUNT];
    memcpy(before, gpr, sizeof(gpr));
    call();
    for (unsigned i = 0; i < GPR_COUNT; i++) {
        if (!(mask >> i & 1))
            assert_int_equal(gpr[i], before[i]);
    }
}

#define R10 (1u << GPR_R10)
#define R11 (1u << GPR_R11)

static bool is_shared(uint64_t gpa)
{
    return guest_page(&mmu, GPA(gpa | SHARED), ACCESS_READ);
}

/* ---- Checks of all calls --------------------------------------------------------------------- */

/* An invalid RCX is reported in RAX, and changes nothing else. */
static void exposure(void **state)
{
    static const struct {
        uint64_t rcx;
        bool good;
    } rows[] = {
        {0xfc00, true},       {0xffec, true},  {0xffffffec, true},
        {0xfffffc00, true},   {0, true},       {0xf800, true},
        {0xf400, true},       {0xec00, true},  {0xdc00, true},
        {0xbc00, true},       {0x7c00, true},  {0xfc01, false},
        {0xfc02, false},      {0xfc10, false}, {0x1fc0000fc00, false},
        {0x10000fc00, false}, {1, false},      {BIT(63) | 0xfc00, false},
        {~0ull, false},
    };
    (void)state;
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        fill(GHCI_REQUEST_MMIO, 4, 0, SHARED | DEVICE, 0);
        gpr[GPR_RCX] = rows[i].rcx;
        call_changing(rows[i].good ? (R10 | R11) & (uint32_t)rows[i].rcx : 1u << GPR_RAX);
        assert_int_equal(gpr[GPR_RAX], rows[i].good ? 0 : 0xc000010000000001);
        asked.reads = 0;
    }
    stop();
}

/* A register that is not exposed is 0 for the leaf and keeps its value: each in turn, also after a
 * call that exposed all of them and could be repeated. */
static void hidden_registers(void **state)
{
    static const struct {
        unsigned hidden;
        uint64_t status, reads, writes;
    } rows[] = {
        {GPR_R11, INVALID | 3, 0, 0}, /* leaf 0 */
        {GPR_R12, INVALID, 0, 0},     /* no size */
        {GPR_R13, 0, 1, 0},           /* a read instead of the write */
        {GPR_R14, INVALID, 0, 0},     /* address 0 is private */
        {GPR_R15, 0, 0, 1},           /* the value 0 */
    };
    (void)state;
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        fill(GHCI_REQUEST_MMIO, 4, 1, SHARED | DEVICE, 0x12345678);
        call_changing(R10);
        memset(&asked, 0, sizeof(asked));
        fill(GHCI_REQUEST_MMIO, 4, 1, SHARED | DEVICE, 0x12345678);
        gpr[GPR_RCX] &= ~BIT(rows[i].hidden);
        call_changing(rows[i].reads ? R10 | R11 : R10);
        assert_int_equal(gpr[GPR_R10], rows[i].status);
        assert_int_equal(asked.reads, rows[i].reads);
        assert_int_equal(asked.writes, rows[i].writes);
        assert_int_equal(asked.value, 0);
    }
    fill(GHCI_REQUEST_MMIO, 4, 1, SHARED | DEVICE, 0x12345678);
    gpr[GPR_R10] = 77; /* hidden, so the call is the GHCI's, and its status is not returned */
    gpr[GPR_RCX] &= ~BIT(GPR_R10);
    call_changing(0);
    assert_int_equal(asked.value, 0x12345678);
    stop();
}

static void unknown_leaves(void **state)
{
    static const uint64_t leaves[] = {0, 1, 47, 49, 0xffff, 0x10002, BIT(32) | 48, ~0ull};
    (void)state;
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        fill(leaves[i], 4, 0, SHARED | DEVICE, 0);
        call_changing(R10);
        assert_int_equal(gpr[GPR_R10], INVALID | 3);
    }
    fill(GHCI_REQUEST_MMIO, 4, 0, SHARED | DEVICE, 0);
    gpr[GPR_R10] = 1; /* a vendor's own call, for any R11 */
    call_changing(R10);
    assert_int_equal(gpr[GPR_R10], INVALID | 3);
    assert_int_equal(asked.reads, 0);
    stop();
}

static void get_info(void **state)
{
    (void)state;
    start();
    fill(GHCI_GET_INFO, 0, 7, 8, 9);
    call_changing(R10 | R11 | 1u << GPR_R12 | 1u << GPR_R13 | 1u << GPR_R14);
    for (unsigned r = GPR_R10; r <= GPR_R14; r++)
        assert_int_equal(gpr[r], 0);
    fill(GHCI_GET_INFO, 1, 7, 8, 9);
    call_changing(R10);
    assert_int_equal(gpr[GPR_R10], INVALID);
    stop();
}

/* ---- RequestMMIO (X7) ------------------------------------------------------------------------ */

static void mmio_requests(void **state)
{
    static const struct {
        uint64_t size, write, address;
        bool good;
    } rows[] = {
        {1, 0, SHARED | DEVICE, true},
        {2, 0, SHARED | DEVICE, true},
        {4, 0, SHARED | DEVICE, true},
        {8, 0, SHARED | DEVICE, true},
        {1, 1, SHARED | DEVICE, true},
        {8, 1, SHARED | DEVICE, true},
        {4, 1, SHARED | (DEVICE + 0xffe), true}, /* crosses a page border between two devices */
        {0, 0, SHARED | DEVICE, false},
        {3, 0, SHARED | DEVICE, false},
        {5, 0, SHARED | DEVICE, false},
        {16, 0, SHARED | DEVICE, false},
        {BIT(32) | 4, 0, SHARED | DEVICE, false},
        {4, 2, SHARED | DEVICE, false},
        {4, ~0ull, SHARED | DEVICE, false},
        {4, 0, DEVICE, false},        /* private */
        {4, 0, CODE | DEVICE, false}, /* execute-only */
        {4, 0, SHARED | CODE | DEVICE, false},
        {4, 0, SHARED | BIT(40) | DEVICE, false},
        {4, 0, BIT(63) | SHARED | DEVICE, false},
        {4, 0, SHARED - 2, false}, /* private at the first byte */
        {4, 0, SHARED, true},
        {4, 0, SHARED | (END - 4), true},
        {4, 0, SHARED | (END - 2), false}, /* ends beyond the address space */
        {4, 0, ~0ull - 1, false},          /* wraps around */
        {8, 0, ~0ull - 7, false},
        {4, 0, SHARED | RAM, false}, /* memory, although it is private at present */
        {4, 0, SHARED | (RAM - 4), true},
        {4, 0, SHARED | (RAM - 2), false},                      /* its last bytes are memory */
        {8, 1, SHARED | (MORE + MORES * PAGE_SIZE - 4), false}, /* its first bytes are memory */
        {8, 1, SHARED | (MORE + MORES * PAGE_SIZE), true},
    };
    (void)state;
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t size = rows[i].size, mask = size == 8 ? ~0ull : BIT(8 * (size & 7)) - 1;
        bool good = rows[i].good, write = rows[i].write;
        fill(GHCI_REQUEST_MMIO, size, rows[i].write, rows[i].address, 0x8877665544332211);
        call_changing(good && !write ? R10 | R11 : R10); /* R15 does not change on reads */
        if (gpr[GPR_R10] != (good ? 0 : INVALID))
            fail_msg("row %u: %#lx", i, gpr[GPR_R10]);
        assert_int_equal(asked.reads, good && !write);
        assert_int_equal(asked.writes, good && write);
        if (!good)
            continue;
        assert_int_equal(asked.size, size);
        assert_int_equal(asked.address, rows[i].address);
        if (write)
            assert_int_equal(asked.value, 0x8877665544332211 & mask);
        else
            assert_int_equal(gpr[GPR_R11], ANSWER & mask);
    }
    stop();
}

static bool remembered(uint64_t address, uint64_t size, uint64_t write)
{
    fill(GHCI_REQUEST_MMIO, size, write, address, 7);
    struct ghci_replay before = replay;
    call();
    assert_int_equal(gpr[GPR_R10], 0);
    assert_int_equal(asked.reads + asked.writes, 1);
    assert_int_equal(asked.address, address);
    return !memcmp(&before, &replay, sizeof(replay)) &&
           replay.range.sequence == bus_sequence(&bus) &&
           replay.generation == mmu_slot_generation(&mmu);
}

/* The replay entry holds for other addresses of the page, until the slots, the bus, or the size or
 * direction of the access change. */
static void requests_are_remembered(void **state)
{
    (void)state;
    const uint64_t at = SHARED | DEVICE;
    start();
    assert_false(remembered(at, 4, 1));
    assert_true(remembered(at, 4, 1));
    assert_true(remembered(at + 0xffc, 4, 1));
    /* crosses the page: the replay entry does not hold */
    assert_false(remembered(at + 0xffd, 4, 1));
    assert_false(remembered(at, 4, 1));
    assert_false(remembered(at, 4, 0));
    assert_false(remembered(at, 2, 0));
    assert_true(remembered(at, 2, 0));
    assert_false(remembered(at + PAGE_SIZE, 2, 0));
    assert_int_equal(mmu_slot_add(&mmu, 5, GPA(0x10000), 1, 0), 0);
    assert_false(remembered(at + PAGE_SIZE, 2, 0));
    assert_true(remembered(at + PAGE_SIZE, 2, 0));
    static int other;
    assert_int_equal(bus_add_over(&bus, 1, at + PAGE_SIZE + 8, 8, &device_ops, &other), 0);
    fill(GHCI_REQUEST_MMIO, 2, 0, at + PAGE_SIZE + 8, 7);
    call();
    assert_int_equal(asked.address, 0); /* the offset in the new region */
    assert_int_equal(mmu_slot_add(&mmu, 6, GPA(DEVICE), 1, MEMSLOT_SHARED), 0);
    assert_false(remembered(at + PAGE_SIZE, 2, 0));
    fill(GHCI_REQUEST_MMIO, 2, 0, at, 7);
    call();
    assert_int_equal(gpr[GPR_R10], INVALID); /* now memory */
    fill(GHCI_REQUEST_MMIO, 2, 0, at + PAGE_SIZE, 7);
    gpr[GPR_RCX] = EXPOSE | BIT(0); /* the replay entry does not skip the check of RCX */
    call();
    assert_int_equal(gpr[GPR_RAX], 0xc000010000000001);
    stop();
}

/* ---- MapGPA (X6) ----------------------------------------------------------------------------- */

static void conversions(void **state)
{
    static const struct {
        uint64_t address, size, result, next; /* `next` relative to the address */
    } rows[] = {
        {SHARED | RAM, PAGE_SIZE, 0, PAGE_SIZE},
        {RAM, PAGE_SIZE, 0, PAGE_SIZE},
        {SHARED | (RAM + 0x1ff000), 0x2000, 0, 0x2000}, /* across a border of 2 MiB */
        {SHARED | RAM, PAGES * PAGE_SIZE, 0, PAGES * PAGE_SIZE},
        {RAM, PAGES * PAGE_SIZE, 0, PAGES * PAGE_SIZE},
        {SHARED | RAM, 0, INVALID, 0},
        {SHARED | RAM, -RAM, INVALID, 0}, /* wraps around */
        {SHARED | RAM, ~0ull, INVALID, 0},
        {~0ull << 12, PAGE_SIZE, INVALID, 0},
        {~0ull << 12, 2 * PAGE_SIZE, INVALID, 0},
        {BIT(40) | RAM, PAGE_SIZE, INVALID, 0},
        {CODE | RAM, PAGE_SIZE, INVALID, 0},
        {SHARED | CODE | RAM, PAGE_SIZE, INVALID, 0},
        {SHARED - PAGE_SIZE, 2 * PAGE_SIZE, INVALID, 0},
        {RAM, SHARED, INVALID, 0}, /* its ends are on different sides */
        {END - PAGE_SIZE, 2 * PAGE_SIZE, INVALID, 0},
        {SHARED | (RAM + 0x800), PAGE_SIZE, INVALID | 2, 0},
        {SHARED | (RAM + 1), PAGE_SIZE, INVALID | 2, 0},
        {SHARED | RAM, PAGE_SIZE + 0x800, INVALID | 2, 0},
        {SHARED | RAM, 1, INVALID | 2, 0},
        {SHARED | 0x1000, PAGE_SIZE, INVALID, 0}, /* outside of all memory */
        {SHARED | (RAM - PAGE_SIZE), 2 * PAGE_SIZE, INVALID, 0},
        {SHARED | (RAM + (PAGES - 1) * PAGE_SIZE), 2 * PAGE_SIZE, INVALID,
         PAGE_SIZE}, /* after the memory */
        {SHARED | RAM, (PAGES + 4) * PAGE_SIZE, INVALID, PAGES * PAGE_SIZE},
        {SHARED | MORE, MORES * PAGE_SIZE, 0, MORES * PAGE_SIZE},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t address = rows[i].address, next = rows[i].next;
        start();
        assert_int_equal(world_touch(&mmu, GPA(RAM), 1).outcome, FAULT_FIXED);
        for (uint64_t p = 0; p < PAGES; p += 1025) /* so that both ends have contents */
            assert_int_equal(guest_write(&mmu, GPA(RAM + p * PAGE_SIZE), &address, 8), 0);
        fill(GHCI_MAP_GPA, address, rows[i].size, 0, 0);
        call_changing(R10 | R11);
        if (gpr[GPR_R10] != rows[i].result || gpr[GPR_R11] != address + next)
            fail_msg("row %u: %#lx, next %#lx", i, gpr[GPR_R10], gpr[GPR_R11]);
        /* Pages before `next` are on the new side, and the others are still private. */
        for (uint64_t p = RAM; p < RAM + PAGES * PAGE_SIZE; p += 1025 * PAGE_SIZE) {
            uint64_t in = (address & ~SHARED) <= p && p < (address & ~SHARED) + next;
            assert_int_equal(is_shared(p), in && address & SHARED);
        }
        stop();
    }
}

/* A conversion is made in pieces. A pending event stops it between two pieces, but never before the
 * first one, and R11 returns where to continue. */
static void conversions_are_interrupted(void **state)
{
    (void)state;
    start();
    uint64_t at = SHARED | (RAM + 0x5000), end = SHARED | (RAM + PAGES * PAGE_SIZE);
    const uint64_t piece = CONVERT_FRAMES * PAGE_SIZE;
    events_after = 0;
    for (unsigned i = 0; i < 3; i++) {
        fill(GHCI_MAP_GPA, at, end - at, 0, 0);
        call_changing(R10 | R11);
        assert_int_equal(gpr[GPR_R10], 1);
        at = gpr[GPR_R11];
        assert_int_equal(at, SHARED | (RAM + (i + 1) * piece));
        assert_int_equal(asked_for_events, 1);
    }
    events_after = 1; /* one more piece */
    fill(GHCI_MAP_GPA, RAM, PAGES * PAGE_SIZE, 0, 0);
    call_changing(R10 | R11);
    assert_int_equal(gpr[GPR_R10], 1);
    assert_int_equal(gpr[GPR_R11], RAM + 2 * piece);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exposure),       cmocka_unit_test(hidden_registers),
        cmocka_unit_test(unknown_leaves), cmocka_unit_test(get_info),
        cmocka_unit_test(mmio_requests),  cmocka_unit_test(requests_are_remembered),
        cmocka_unit_test(conversions),    cmocka_unit_test(conversions_are_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
