/* SPDX-License-Identifier: MIT */
/*
 * The GHCI's hypercalls under libFuzzer. An input is a sequence of calls, each given by its
 * registers. After each call, all registers, the devices and the contents of some pages agree with
 * the model of tests/unit/vm/ghci_model.h, and after the last one the sides of all pages. Nothing
 * is left allocated.
 */
#include "tests/unit/vm/ghci_model.h"

#include "mmu/sides.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *next, *end_of_input;

static uint8_t take(void)
{
    return next < end_of_input ? *next++ : 0;
}

/* Returns a value that has a meaning, perhaps with a small number added, or any value. */
static uint64_t take_word(void)
{
    static const uint64_t base[] = {0,
                                    1,
                                    2,
                                    4,
                                    8,
                                    PAGE_SIZE,
                                    0x200000,
                                    RAM,
                                    RAM + 0x200000,
                                    RAM + PAGES * PAGE_SIZE,
                                    MORE,
                                    MORE + MORES * PAGE_SIZE,
                                    DEVICE,
                                    END,
                                    SHARED,
                                    BIT(40),
                                    SHARED | RAM,
                                    SHARED | (RAM + 0x200000),
                                    SHARED | (RAM + PAGES * PAGE_SIZE),
                                    SHARED | MORE,
                                    SHARED | DEVICE,
                                    SHARED | CODE | RAM,
                                    EXPOSE,
                                    GHCI_MAP_GPA};
    uint8_t kind = take();
    uint64_t word = 0;
    if (kind % 32 >= ARRAY_SIZE(base)) {
        for (unsigned i = 0; i < 8; i++)
            word = word << 8 | take();
        return word;
    }
    word = base[kind % 32];
    if (kind & 0x80)
        word += (uint64_t)(int8_t)take() * (kind & 0x40 ? PAGE_SIZE : 1);
    return word;
}

/* ---- Contents -------------------------------------------------------------------------------- */

static const uint64_t stamped[] = {RAM,
                                   RAM + PAGE_SIZE,
                                   RAM + 511 * PAGE_SIZE,
                                   RAM + 512 * PAGE_SIZE,
                                   RAM + (PAGES - 1) * PAGE_SIZE,
                                   MORE,
                                   MORE + (MORES - 1) * PAGE_SIZE};
static bool was_shared[ARRAY_SIZE(stamped)];

static uint64_t through_its_side(unsigned i)
{
    return stamped[i] | (side[stamped[i] >> 12] ? SHARED : 0);
}

static void stamp(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(stamped); i++) {
        was_shared[i] = side[stamped[i] >> 12];
        assert_int_equal(guest_write(&mmu, GPA(through_its_side(i)), &stamped[i], 8), 0);
    }
}

/* Pages that have changed sides are zero, and the others are unchanged. */
static void check_stamps(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(stamped); i++) {
        uint64_t word, kept = was_shared[i] == side[stamped[i] >> 12];
        assert_int_equal(guest_read(&mmu, GPA(through_its_side(i)), &word, 8, ACCESS_READ), 0);
        assert_int_equal(word, kept ? stamped[i] : 0);
    }
}

/* Compares the attributes. Reading each page, as check_sides() does, takes too long. */
static void check_all_sides(void)
{
    for (unsigned i = 0; i < mmu.slots->used; i++) {
        const struct memslot *slot = &mmu.slots->slot[i];
        for (uint64_t offset = 0; offset < slot->backing.pages; offset++)
            assert_int_equal(sides_is_shared(slot, offset), side[slot->base.v + offset]);
    }
}

/* ---- Calls ----------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t named[] = {GPR_R10, GPR_R12, GPR_R13, GPR_R14, GPR_R15};
    static const uint64_t leaves[] = {GHCI_MAP_GPA, GHCI_REQUEST_MMIO, GHCI_GET_INFO};
    next = data;
    end_of_input = data + size;
    memset(side, 0, sizeof(side));
    start();
    for (unsigned calls = 0; next < end_of_input && calls < 16; calls++) {
        uint8_t what = take();
        for (unsigned i = 0; i < GPR_COUNT; i++)
            gpr[i] = 0x0101010101010101 * (i + 1);
        gpr[GPR_RAX] = 0;
        gpr[GPR_RCX] = what & 4 ? take_word() : EXPOSE;
        gpr[GPR_R11] = (what & 3) < ARRAY_SIZE(leaves) ? leaves[what & 3] : take_word();
        for (unsigned i = what & 8 ? 0 : 1; i < sizeof(named); i++)
            gpr[named[i]] = take_word();
        if (!(what & 8))
            gpr[GPR_R10] = 0;
        events_after = what >> 4;
        stamp();
        call_and_compare();
        check_stamps();
    }
    check_all_sides();
    stop();
    return 0;
}
