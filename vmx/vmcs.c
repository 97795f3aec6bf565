/* SPDX-License-Identifier: MIT */
/* Handles a failed VMREAD or VMWRITE. */
#include "vmx/vmcs.h"

#include "lib/assert.h"
#include "lib/log.h"
#include "vmx/errors.h"

/* The VM-instruction error; 0 if no VMCS is current, which could hold it. */
static uint64_t vm_instruction_error(void)
{
    uint64_t error;
    bool failed;
    __asm__ volatile("vmread %2, %0"
                     : "=r"(error), "=@ccbe"(failed)
                     : "r"((uint64_t)VMCS_INSTRUCTION_ERROR));
    return failed ? 0 : error;
}

void vmcs_access_failed(uint32_t field, uint64_t value, bool write)
{
    log_error(
        "%s of the VMCS field %s (%#x)%s failed: this CPU lacks the field, or no VMCS is current",
        write ? "VMWRITE" : "VMREAD", vmcs_field_name(field), field, write ? "" : " ");
    log_info("  value %#lx, error %lu", value, vm_instruction_error());
    BUG_ON(true);
}
