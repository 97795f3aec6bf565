/*
 * The GHCI's hypercalls (rules X6 and X7): tables with each check, and a random test against a
 * model of the interface that knows the VM's memory as two arrays.
 *
 * The VM has 1026 pages of RAM from 2 MiB on, two holes, and 3 pages after the first hole; every
 * other shared address is a device, which keeps what it was asked.
 */
#include "tests/unit/mmu_world.h"

#include "guest/ghci.h"
#include "vmx/regs.h"

#include <stdio.h>
#include <string.h>

#define SHARED  BIT(39)
#define CODE    BIT(38)
#define END     CODE /* of memory and devices: the lowest stolen bit */
#define RAM     0x200000ull
#define PAGES   1026ull
#define MORE    (RAM + (PAGES + 2) * PAGE_SIZE)
#define MORES   3ull
#define DEVICE  0xfee00000ull
#define INVALID 0x8000000000000000ull
#define EXPOSE  0xfc00ull
#define ANSWER  0x1122334455667788ull

static struct mmu mmu;
static struct bus bus;
static uint64_t gpr[GPR_COUNT];

/* What the device was asked last. */
static struct {
    unsigned reads, writes, size;
    uint64_t address, value;
} asked;

static uint64_t device_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)device;
    assert_null(vcpu);
    asked.reads++;
    asked.size = size;
    asked.address = offset;
    return size == 8 ? ANSWER : ANSWER & (BIT(8 * size) - 1);
}

static void device_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    (void)device;
    assert_null(vcpu);
    asked.writes++;
    asked.size = size;
    asked.address = offset;
    asked.value = value;
}

static const struct bus_ops device_ops = {"any", .read = device_read, .write = device_write};

/* Events come at this many of the pieces from now on. */
static unsigned asked_for_events, events_after;

static bool interrupted(void *context)
{
    assert_ptr_equal(context, &mmu);
    return asked_for_events++ >= events_after;
}

static void start(void)
{
    const struct mmu_config config = {.mmio_caching = true, .ad = true, .huge = true};
    world_reset(WORLD_CAPS, &config);
    assert_int_equal(mmu_create(&mmu), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 39, STOLEN_SHARED), 0);
    assert_int_equal(mmu_steal_bit(&mmu, 38, STOLEN_EXECUTE_ONLY), 0);
    assert_int_equal(mmu_slot_add(&mmu, 1, GPA(RAM), PAGES, 0), 0);
    assert_int_equal(mmu_slot_add(&mmu, 2, GPA(MORE), MORES, 0), 0);
    bus_init(&bus, "mmio", ~0ull);
    assert_int_equal(bus_add(&bus, 0, ~0ull, &device_ops, NULL), 0);
    events_after = ~0u;
}

static void stop(void)
{
    world_check(&mmu);
    mmu_destroy(&mmu);
    assert_int_equal(support_pages_in_use(), 0);
}

static void call(void)
{
    memset(&asked, 0, sizeof(asked));
    asked_for_events = 0;
    ghci_call(&(struct ghci){
        .gpr = gpr, .mmu = &mmu, .bus = &bus, .interrupted = interrupted, .context = &mmu});
}

/* Every register holds a value of its own, before the leaf's are put there. */
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

/* Makes the call; all registers but those of the mask are as before. */
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

/* ---- What any call must say ------------------------------------------------------------------ */

/* RAX says that RCX is wrong, and nothing else happens. */
static void exposure(void **state)
{
    static const struct {
        uint64_t rcx;
        bool good;
    } rows[] = {
        {0xfc00, true},
        {0xffec, true},
        {0xffffffec, true},
        {0xfffffc00, true},
        {0, false},
        {0xf800, false},
        {0xf400, false},
        {0xec00, false},
        {0xdc00, false},
        {0xbc00, false},
        {0x7c00, false},
        {0xfc01, false},
        {0xfc02, false},
        {0xfc10, false},
        {0x1fc0000fc00, false},
        {0x10000fc00, false},
        {BIT(63) | 0xfc00, false},
        {~0ull, false},
    };
    (void)state;
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        fill(GHCI_REQUEST_MMIO, 4, 0, SHARED | DEVICE, 0);
        gpr[GPR_RCX] = rows[i].rcx;
        gpr[GPR_RAX] = 0;
        call_changing(rows[i].good ? R10 | R11 : 1u << GPR_RAX);
        assert_int_equal(asked.reads, rows[i].good);
        assert_int_equal(gpr[GPR_RAX], rows[i].good ? 0 : 0xc000010000000001);
    }
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
    gpr[GPR_R10] = 1; /* somebody's own call, whatever R11 says */
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
        {4, 1, SHARED | (DEVICE + 0xffe), true}, /* it crosses a page: devices both */
        {0, 0, SHARED | DEVICE, false},
        {3, 0, SHARED | DEVICE, false},
        {5, 0, SHARED | DEVICE, false},
        {16, 0, SHARED | DEVICE, false},
        {BIT(32) | 4, 0, SHARED | DEVICE, false},
        {4, 2, SHARED | DEVICE, false},
        {4, ~0ull, SHARED | DEVICE, false},
        {4, 0, DEVICE, false},        /* private */
        {4, 0, CODE | DEVICE, false}, /* nothing but fetches */
        {4, 0, SHARED | CODE | DEVICE, false},
        {4, 0, SHARED | BIT(40) | DEVICE, false},
        {4, 0, BIT(63) | SHARED | DEVICE, false},
        {4, 0, SHARED - 2, false}, /* private at its first byte */
        {4, 0, SHARED, true},
        {4, 0, SHARED | (END - 4), true},
        {4, 0, SHARED | (END - 2), false}, /* ends beyond */
        {4, 0, ~0ull - 1, false},          /* wraps */
        {8, 0, ~0ull - 7, false},
        {4, 0, SHARED | RAM, false}, /* memory, though private at present */
        {4, 0, SHARED | (RAM - 4), true},
        {4, 0, SHARED | (RAM - 2), false},                      /* its last bytes are memory, */
        {8, 1, SHARED | (MORE + MORES * PAGE_SIZE - 4), false}, /* or its first */
        {8, 1, SHARED | (MORE + MORES * PAGE_SIZE), true},
    };
    (void)state;
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t size = rows[i].size, mask = size == 8 ? ~0ull : BIT(8 * (size & 7)) - 1;
        bool good = rows[i].good, write = rows[i].write;
        fill(GHCI_REQUEST_MMIO, size, rows[i].write, rows[i].address, 0x8877665544332211);
        call_changing(good && !write ? R10 | R11 : R10); /* R15 is the guest's own on reads */
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

/* ---- MapGPA (X6) ----------------------------------------------------------------------------- */

static void conversions(void **state)
{
    static const struct {
        uint64_t address, size, result, next; /* `next` relative to the address */
    } rows[] = {
        {SHARED | RAM, PAGE_SIZE, 0, PAGE_SIZE},
        {RAM, PAGE_SIZE, 0, PAGE_SIZE},
        {SHARED | (RAM + 0x1ff000), 0x2000, 0, 0x2000}, /* over the end of 2 MiB */
        {SHARED | RAM, PAGES * PAGE_SIZE, 0, PAGES * PAGE_SIZE},
        {RAM, PAGES * PAGE_SIZE, 0, PAGES * PAGE_SIZE},
        {SHARED | RAM, 0, INVALID, 0},
        {SHARED | RAM, -RAM, INVALID, 0}, /* wraps */
        {SHARED | RAM, ~0ull, INVALID, 0},
        {~0ull << 12, PAGE_SIZE, INVALID, 0},
        {~0ull << 12, 2 * PAGE_SIZE, INVALID, 0},
        {BIT(40) | RAM, PAGE_SIZE, INVALID, 0},
        {CODE | RAM, PAGE_SIZE, INVALID, 0},
        {SHARED | CODE | RAM, PAGE_SIZE, INVALID, 0},
        {SHARED - PAGE_SIZE, 2 * PAGE_SIZE, INVALID, 0},
        {RAM, SHARED, INVALID, 0}, /* its ends are on two sides */
        {END - PAGE_SIZE, 2 * PAGE_SIZE, INVALID, 0},
        {SHARED | (RAM + 0x800), PAGE_SIZE, INVALID | 2, 0},
        {SHARED | (RAM + 1), PAGE_SIZE, INVALID | 2, 0},
        {SHARED | RAM, PAGE_SIZE + 0x800, INVALID | 2, 0},
        {SHARED | RAM, 1, INVALID | 2, 0},
        {SHARED | 0x1000, PAGE_SIZE, INVALID, 0}, /* no memory at all, */
        {SHARED | (RAM - PAGE_SIZE), 2 * PAGE_SIZE, INVALID, 0},
        {SHARED | (RAM + (PAGES - 1) * PAGE_SIZE), 2 * PAGE_SIZE, INVALID,
         PAGE_SIZE}, /* or after */
        {SHARED | RAM, (PAGES + 4) * PAGE_SIZE, INVALID, PAGES * PAGE_SIZE},
        {SHARED | MORE, MORES * PAGE_SIZE, 0, MORES * PAGE_SIZE},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t address = rows[i].address, next = rows[i].next;
        start();
        assert_int_equal(world_touch(&mmu, GPA(RAM), 1).outcome, FAULT_FIXED);
        for (uint64_t p = 0; p < PAGES; p += 1025) /* both ends hold something */
            assert_int_equal(guest_write(&mmu, GPA(RAM + p * PAGE_SIZE), &address, 8), 0);
        fill(GHCI_MAP_GPA, address, rows[i].size, 0, 0);
        call_changing(R10 | R11);
        if (gpr[GPR_R10] != rows[i].result || gpr[GPR_R11] != address + next)
            fail_msg("row %u: %#lx, next %#lx", i, gpr[GPR_R10], gpr[GPR_R11]);
        /* What stands before `next` is on its new side, and the rest as it was: private. */
        for (uint64_t p = RAM; p < RAM + PAGES * PAGE_SIZE; p += 1025 * PAGE_SIZE) {
            uint64_t in = (address & ~SHARED) <= p && p < (address & ~SHARED) + next;
            assert_int_equal(is_shared(p), in && address & SHARED);
        }
        stop();
    }
}

/* Pieces of 2 MiB; an event stops it between them, never before the first, and R11 goes on. */
static void conversions_are_interrupted(void **state)
{
    (void)state;
    start();
    uint64_t at = SHARED | (RAM + 0x5000), end = SHARED | (RAM + PAGES * PAGE_SIZE);
    static const uint64_t stops[] = {RAM + 0x200000, RAM + 0x400000, 0};
    events_after = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(stops); i++) {
        fill(GHCI_MAP_GPA, at, end - at, 0, 0);
        call_changing(R10 | R11);
        assert_int_equal(gpr[GPR_R10], stops[i] ? 1 : 0);
        at = gpr[GPR_R11];
        assert_int_equal(at, stops[i] ? SHARED | stops[i] : end);
        assert_int_equal(asked_for_events, stops[i] ? 1 : 0);
    }
    events_after = 1; /* one piece more */
    fill(GHCI_MAP_GPA, RAM, PAGES * PAGE_SIZE, 0, 0);
    call_changing(R10 | R11);
    assert_int_equal(gpr[GPR_R10], 1);
    assert_int_equal(gpr[GPR_R11], RAM + 0x400000);
    stop();
}

/* ---- At random ------------------------------------------------------------------------------- */

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

/* The VM as the model sees it: frame by frame, on which side. */
static bool side[(MORE >> 12) + MORES];
static uint64_t results[5], device_calls;

static bool is_memory(uint64_t gpa)
{
    return (gpa >= RAM && gpa < RAM + PAGES * PAGE_SIZE) ||
           (gpa >= MORE && gpa < MORE + MORES * PAGE_SIZE);
}

/* A range that names memory or devices of one side. The sum is taken in 128 bits. */
static bool legal(uint64_t first, uint64_t size)
{
    unsigned __int128 last = (unsigned __int128)first + size - 1;
    return size && last < BIT(40) && !(first & CODE) && !((uint64_t)last & CODE) &&
           (first & SHARED) == ((uint64_t)last & SHARED);
}

/* The model: what the registers must be afterwards. */
static void model_mmio(uint64_t *r)
{
    uint64_t size = r[GPR_R12], address = r[GPR_R14];
    r[GPR_R10] = INVALID;
    if ((size == 1 || size == 2 || size == 4 || size == 8) && r[GPR_R13] <= 1 &&
        legal(address, size) && address & SHARED && !is_memory(address & ~SHARED) &&
        !is_memory((address + size - 1) & ~SHARED)) {
        r[GPR_R10] = 0;
        assert_int_equal(asked.reads + asked.writes, 1);
        assert_int_equal(asked.reads, !r[GPR_R13]);
        assert_int_equal(asked.address, address);
        if (!r[GPR_R13])
            r[GPR_R11] = size == 8 ? ANSWER : ANSWER & (BIT(8 * size) - 1);
        device_calls++;
        asked.reads = asked.writes = 0;
    }
}

static void model_map(uint64_t *r)
{
    uint64_t at = r[GPR_R12], end = at + r[GPR_R13];
    unsigned events = 0;
    r[GPR_R11] = at;
    r[GPR_R10] = INVALID;
    if (!legal(at, r[GPR_R13]))
        return;
    r[GPR_R10] = INVALID | 2;
    if ((at | end) & 0xfff)
        return;
    r[GPR_R10] = 0;
    for (bool first = true; at < end; first = false) {
        if (!first && events++ >= events_after) {
            r[GPR_R10] = 1;
            return;
        }
        if (!is_memory(at & ~SHARED)) {
            r[GPR_R10] = INVALID;
            return;
        }
        do { /* to the end of 2 MiB, of the slot, or of the range */
            side[(at & ~SHARED) >> 12] = at & SHARED;
            at += PAGE_SIZE;
        } while (at < end && at & 0x1fffff && is_memory(at & ~SHARED));
        r[GPR_R11] = at;
    }
}

static void model(uint64_t *r)
{
    uint64_t rcx = r[GPR_RCX];
    if ((rcx & 0xfc00) != 0xfc00 || rcx & 0xffffffff00000013) {
        r[GPR_RAX] = 0xc000010000000001;
        return;
    }
    r[GPR_RAX] = 0;
    if (r[GPR_R10] || (r[GPR_R11] != 48 && r[GPR_R11] >> 1 != 0x8000)) {
        r[GPR_R10] = INVALID | 3;
    } else if (r[GPR_R11] == 48) {
        model_mmio(r);
    } else if (r[GPR_R11] == 0x10001) {
        model_map(r);
    } else if (r[GPR_R12]) {
        r[GPR_R10] = INVALID;
    } else {
        memset(&r[GPR_R10], 0, 5 * sizeof(*r));
    }
}

static uint64_t random_address(void)
{
    static const uint64_t near[] = {RAM,
                                    RAM + 0x200000,
                                    RAM + 0x400000,
                                    RAM + PAGES * PAGE_SIZE,
                                    MORE,
                                    DEVICE,
                                    END,
                                    MORE + MORES * PAGE_SIZE,
                                    SHARED,
                                    0};
    static const uint64_t bits[] = {SHARED, SHARED, SHARED, SHARED, SHARED, 0, 0, CODE, BIT(40)};
    uint64_t address = near[rnd(ARRAY_SIZE(near))] | bits[rnd(ARRAY_SIZE(bits))];
    address += rnd(3) ? PAGE_SIZE * (rnd(9) - 4) : rnd(17) - 8;
    return rnd(64) ? address : random_state;
}

static void random_registers(void)
{
    static const uint64_t leaves[] = {48, 48, 0x10001, 0x10001, 0x10000, 49};
    static const uint64_t sizes[] = {1, 2, 4, 8, 8, 3, 0, 16};
    static const uint64_t pages[] = {1, 1, 1, 2, 3, 8, 512, 513, 1026, 1030};
    uint64_t leaf = leaves[rnd(ARRAY_SIZE(leaves))];
    for (unsigned i = 0; i < GPR_COUNT; i++)
        gpr[i] = rnd(~0ull);
    gpr[GPR_RAX] = 0;
    gpr[GPR_RCX] = rnd(32) ? EXPOSE | (rnd(2) ? 0xffff00e0 : 0) : EXPOSE ^ BIT(rnd(40));
    gpr[GPR_R10] = rnd(64) == 0;
    gpr[GPR_R11] = rnd(64) ? leaf : rnd(~0ull);
    gpr[GPR_R12] = leaf == 48        ? sizes[rnd(ARRAY_SIZE(sizes))]
                   : leaf == 0x10000 ? rnd(2)
                                     : random_address();
    if (leaf == 48)
        gpr[GPR_R13] = rnd(16) ? rnd(2) : rnd(4);
    else /* many pages are converted now and then only, for speed */
        gpr[GPR_R13] = rnd(8) ? rnd(4) : PAGE_SIZE * pages[rnd(rnd(64) ? 6 : ARRAY_SIZE(pages))];
    if (leaf == 0x10001 && rnd(16) == 0)
        gpr[GPR_R13] = rnd(2) ? -gpr[GPR_R12] : rnd(~0ull);
    gpr[GPR_R14] = random_address();
    events_after = (unsigned)rnd(4);
}

static void check_sides(void)
{
    for (uint64_t gpa = RAM; gpa < MORE + MORES * PAGE_SIZE; gpa += PAGE_SIZE) {
        if (!is_memory(gpa))
            continue;
        uint64_t word;
        uint64_t right = gpa | (side[gpa >> 12] ? SHARED : 0);
        assert_int_equal(guest_read(&mmu, GPA(right), &word, 8, ACCESS_READ), 0);
        assert_int_equal(guest_read(&mmu, GPA(right ^ SHARED), &word, 8, ACCESS_READ), -EACCES);
    }
}

static void random_calls(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 1000000; i++) {
        uint64_t before[GPR_COUNT], right[GPR_COUNT];
        random_registers();
        memcpy(before, gpr, sizeof(gpr));
        memcpy(right, gpr, sizeof(gpr));
        call();
        model(right);
        if (memcmp(gpr, right, sizeof(gpr)) || asked.reads || asked.writes)
            fail_msg("call %u: leaf %#lx, R10 %#lx, R12 to R14 %#lx %#lx %#lx: R10 is %#lx, not "
                     "%#lx; R11 %#lx, not %#lx",
                     i, before[GPR_R11], before[GPR_R10], before[GPR_R12], before[GPR_R13],
                     before[GPR_R14], gpr[GPR_R10], right[GPR_R10], gpr[GPR_R11], right[GPR_R11]);
        if (right[GPR_RAX])
            results[4]++;
        else
            results[right[GPR_R10] >> 63 ? 2 + (right[GPR_R10] & 1) : right[GPR_R10]]++;
        if (i % 16384 == 0)
            check_sides();
    }
    check_sides();
    printf("    %lu done, %lu retry, %lu invalid or not aligned, %lu unknown, %lu bad exposure; "
           "%lu at devices\n",
           results[0], results[1], results[2], results[3], results[4], device_calls);
    for (unsigned i = 0; i < ARRAY_SIZE(results); i++)
        assert_true(results[i] > 100);
    assert_true(device_calls > 10000);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exposure),     cmocka_unit_test(unknown_leaves),
        cmocka_unit_test(get_info),     cmocka_unit_test(mmio_requests),
        cmocka_unit_test(conversions),  cmocka_unit_test(conversions_are_interrupted),
        cmocka_unit_test(random_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
