/* SPDX-License-Identifier: MIT */
/* Declaring stolen bits, which creates roots; see mmu/root.h and mmu/mmu.h. Pure. */
#include "mmu/root.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "mmu/mmu.h"
#include "mmu/spte.h"

static int check_stolen(const struct mmu *mmu, unsigned bit, enum stolen_purpose purpose)
{
    unsigned end = spte_format.caps.maxphyaddr;
    if (end > EPT_GPA_BITS)
        end = EPT_GPA_BITS;
    if (bit < STOLEN_LOW || bit >= end) {
        log_error("MMU: address bit %u can't be stolen; bits %u to %u can", bit, STOLEN_LOW,
                  end - 1);
        return -ERANGE;
    }
    if (mmu->slots->used || mmu->root_count == ROOTS_MAX) {
        log_error("MMU: address bit %u can't be stolen: the VM has %s already", bit,
                  mmu->slots->used ? "memory" : "two such bits");
        return -EINVAL;
    }
    uint32_t flag = purpose == STOLEN_SHARED ? ROLE_SHARED : ROLE_EXECUTE_ONLY;
    if (mmu->stolen.mask & BIT(bit - PAGE_SHIFT) || mmu->roots[mmu->root_count - 1].role & flag) {
        log_error("MMU: address bit %u can't be stolen: the bit or its purpose is in use", bit);
        return -EINVAL;
    }
    if (purpose == STOLEN_EXECUTE_ONLY && !spte_format.caps.exec_only) {
        log_error("MMU: execute-only memory needs execute-only pages, which this CPU lacks");
        return -ENOTSUP;
    }
    return 0;
}

/* The role of the roots in which the new bit is 1, and below, of those in which it is 0. */
static uint32_t role_with(uint32_t role, enum stolen_purpose purpose)
{
    if (purpose == STOLEN_EXECUTE_ONLY)
        return (role & ~(uint32_t)(EPT_READ | EPT_WRITE)) | ROLE_EXECUTE_ONLY;
    return (role & ~(uint32_t)(EPT_EXECUTE | ROLE_PRIVATE)) | ROLE_SHARED;
}

static uint32_t role_without(uint32_t role, enum stolen_purpose purpose)
{
    return purpose == STOLEN_SHARED ? role | ROLE_PRIVATE : role;
}

int mmu_steal_bit(struct mmu *mmu, unsigned bit, enum stolen_purpose purpose)
{
    int error = check_stolen(mmu, bit, purpose);
    if (error)
        return error;
    unsigned count = mmu->root_count;
    roots_double(mmu->roots, count, &mmu->stolen, bit - PAGE_SHIFT);
    for (unsigned i = 0; i < count; i++) {
        uint32_t role = mmu->roots[i].role;
        mmu->roots[i].role = role_without(role, purpose);
        mmu->roots[count + i].role = role_with(role, purpose);
    }
    mmu->root_count = 2 * count;
    return 0;
}
