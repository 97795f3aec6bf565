/* SPDX-License-Identifier: MIT */
/* The names of status codes, for messages. Pure. */
#include "ept/tdx_status.h"

#include "lib/bits.h"

#include <stddef.h>

#define NAMED(status)   \
    {                   \
        status, #status \
    }

static const struct {
    uint64_t status;
    const char *name;
} names[] = {
    NAMED(TDX_SUCCESS),
    NAMED(TDX_OPERAND_INVALID),
    NAMED(TDX_OPERAND_ADDR_RANGE_ERROR),
    NAMED(TDX_OPERAND_BUSY),
    NAMED(TDX_PREVIOUS_TLB_EPOCH_BUSY),
    NAMED(TDX_INTERRUPTED_RESUMABLE),
    NAMED(TDX_PAGE_METADATA_INCORRECT),
    NAMED(TDX_LIFECYCLE_STATE_INCORRECT),
    NAMED(TDX_OP_STATE_INCORRECT),
    NAMED(TDX_FLUSHVP_NOT_DONE),
    NAMED(TDX_EPT_WALK_FAILED),
    NAMED(TDX_GPA_RANGE_NOT_BLOCKED),
    NAMED(TDX_GPA_RANGE_ALREADY_BLOCKED),
    NAMED(TDX_TLB_TRACKING_NOT_DONE),
    NAMED(TDX_PAGE_ALREADY_ACCEPTED),
    NAMED(TDX_PAGE_SIZE_MISMATCH),
    NAMED(TDX_EPT_ENTRY_STATE_INCORRECT),
    NAMED(TDX_EPT_PAGE_NOT_FREE),
};
_Static_assert(sizeof(names) / sizeof(names[0]) <= 31, "a bit for each, and one for all others");

unsigned tdx_status_number(uint64_t status)
{
    unsigned i = 0;
    while (i < ARRAY_SIZE(names) && names[i].status != status)
        i++;
    return i;
}

const char *tdx_status_name(uint64_t status)
{
    unsigned number = tdx_status_number(status);
    return number < ARRAY_SIZE(names) ? names[number].name : "an unknown status";
}
