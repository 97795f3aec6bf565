/*
 * A million of the GHCI's hypercalls (rules X6 and X7) against a model that knows the VM as a list
 * of frames with their sides: all registers, what devices were asked, and what memory has become.
 */
#include "tests/unit/ghci_world.h"

#include <stdio.h>

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
        bool converted = false;
        do { /* to the end of 2 MiB, of the slot, or of the range, or to what is there already */
            bool *shared = &side[(at & ~SHARED) >> 12], wanted = at & SHARED;
            if (converted && *shared == wanted)
                break;
            converted = converted || *shared != wanted;
            *shared = wanted;
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_calls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
