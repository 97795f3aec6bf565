/* What a VMREAD or VMWRITE that failed leads to. */
#include "vmx/vmcs.h"

#include "lib/assert.h"
#include "lib/log.h"
#include "vmx/errors.h"

/* 0 where no VMCS is current, which could tell it. */
static uint64_t instruction_error(void)
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
        "%s of the VMCS field %s (%#x)%s failed: it does not exist here or no VMCS is current",
        write ? "VMWRITE" : "VMREAD", vmcs_field_name(field), field, write ? "" : " ");
    log_info("  value %#lx, error %lu", value, instruction_error());
    BUG_ON(true);
}
