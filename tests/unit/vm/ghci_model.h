/* SPDX-License-Identifier: MIT */
/*
 * What the hypercalls of the GHCI must do (rules X6 and X7), by a model that knows the VM of
 * ghci_world.h as a list of frames with their sides. Include it in one file.
 */
#pragma once

#include "tests/unit/vm/ghci_world.h"

/* The model's view of the VM: the side of each frame. */
static bool side[(MORE >> 12) + MORES];
static uint64_t device_calls;

static inline bool is_memory(uint64_t gpa)
{
    return (gpa >= RAM && gpa < RAM + PAGES * PAGE_SIZE) ||
           (gpa >= MORE && gpa < MORE + MORES * PAGE_SIZE);
}

/* Whether a range consists of valid addresses of one side. The sum is computed in 128 bits. */
static inline bool legal(uint64_t first, uint64_t size)
{
    unsigned __int128 last = (unsigned __int128)first + size - 1;
    return size && last < BIT(40) && !(first & CODE) && !((uint64_t)last & CODE) &&
           (first & SHARED) == ((uint64_t)last & SHARED);
}

/* The model: computes the registers after the call. */
static inline void model_mmio(uint64_t *r)
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

static inline void model_map(uint64_t *r)
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
        /* until the end of the piece, the slot or the range, or until a page that is already on
         * that side */
        do {
            bool *shared = &side[(at & ~SHARED) >> 12], wanted = at & SHARED;
            if (converted && *shared == wanted)
                break;
            converted = converted || *shared != wanted;
            *shared = wanted;
            at += PAGE_SIZE;
        } while (at < end && at & (CONVERT_FRAMES * PAGE_SIZE - 1) && is_memory(at & ~SHARED));
        r[GPR_R11] = at;
    }
}

/* The leaf, on registers of which those that are not exposed are 0. */
static inline void model_leaf(uint64_t *r)
{
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

static inline void model(uint64_t *r)
{
    uint64_t rcx = r[GPR_RCX], seen[GPR_COUNT];
    if (rcx & 0xffffffff00000013) {
        r[GPR_RAX] = 0xc000010000000001;
        return;
    }
    for (unsigned i = 0; i < GPR_COUNT; i++)
        seen[i] = rcx & BIT(i) ? r[i] : 0;
    model_leaf(seen);
    for (unsigned i = 0; i < GPR_COUNT; i++)
        if (rcx & BIT(i))
            r[i] = seen[i];
    r[GPR_RAX] = 0;
}

/* Makes the call that the registers describe, and compares all registers and the device's accesses
 * with the model. */
static inline void call_and_compare(void)
{
    uint64_t before[GPR_COUNT], right[GPR_COUNT];
    memcpy(before, gpr, sizeof(gpr));
    memcpy(right, gpr, sizeof(gpr));
    call();
    model(right);
    if (memcmp(gpr, right, sizeof(gpr)) || asked.reads || asked.writes)
        fail_msg("leaf %#lx, R10 %#lx, R12 to R14 %#lx %#lx %#lx: R10 is %#lx, not %#lx; R11 %#lx, "
                 "not %#lx",
                 before[GPR_R11], before[GPR_R10], before[GPR_R12], before[GPR_R13],
                 before[GPR_R14], gpr[GPR_R10], right[GPR_R10], gpr[GPR_R11], right[GPR_R11]);
}

static inline void check_sides(void)
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
