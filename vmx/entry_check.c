/* SPDX-License-Identifier: MIT */
/* The order of the entry checks. */
#include "vmx/entry_check.h"

#include "arch/x86/reg_bits.h"
#include "lib/log.h"
#include "vmx/entry_check_internal.h"

unsigned entry_check(const struct entry_check_input *input,
                     void (*report)(void *ctx, const struct entry_finding *finding), void *ctx)
{
    struct entry_checker c = {.in = input, .report = report, .report_ctx = ctx};

    for (enum control_set set = 0; set < CONTROL_SETS; set++) {
        uint32_t field = vmx_control_field(set);
        bool active =
            set == CONTROL_SECONDARY  ? entry_on(&c, CONTROL_PRIMARY, PRIMARY_SECONDARY_CONTROLS)
            : set == CONTROL_TERTIARY ? entry_on(&c, CONTROL_PRIMARY, PRIMARY_TERTIARY_CONTROLS)
                                      : true;
        if (active)
            c.set[set] = entry_get(&c, field) & vmx_may_be_1(input->msrs, set);
    }
    c.ia32e = entry_on(&c, CONTROL_ENTRY, ENTRY_IA32E_GUEST);
    c.unrestricted = entry_on(&c, CONTROL_SECONDARY, SECONDARY_UNRESTRICTED_GUEST);
    c.cr0 = entry_get(&c, VMCS_GUEST_CR0);
    c.rflags = entry_get(&c, VMCS_GUEST_RFLAGS);
    c.v8086 = c.rflags & RFLAGS_VM;
    c.event = (uint32_t)entry_get(&c, VMCS_ENTRY_INTERRUPTION_INFO);
    if (!(c.event & EVENT_INFO_VALID))
        c.event = 0;

    entry_check_controls(&c);
    entry_check_event(&c);
    entry_check_host(&c);
    entry_check_guest(&c);
    entry_check_segments(&c);
    return c.count;
}

static void entry_log_finding(void *ctx, const struct entry_finding *finding)
{
    (void)ctx;
    log_error("entry check: %s", finding->text);
}

unsigned entry_check_log(const struct entry_check_input *input)
{
    unsigned count = entry_check(input, entry_log_finding, NULL);
    if (!count)
        log_error("entry check: every rule that can be checked from the VMCS holds; look at the "
                  "MSR-load area and the page to which the VMCS link pointer points");
    return count;
}
