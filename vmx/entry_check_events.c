/* SPDX-License-Identifier: MIT */
/* The entry checks of the event to be injected (SDM 3, 27.2.1.3). */
#include "arch/x86/reg_bits.h"
#include "vmx/entry_check_internal.h"

static const char RULE[] = "27.2.1.3";

static void check_type_and_vector(struct entry_checker *c)
{
    const uint32_t field = VMCS_ENTRY_INTERRUPTION_INFO;
    unsigned type = entry_event_type(c), vector = c->event & 0xff;

    if (type == 1)
        entry_fail(c, field, 8, RULE, "bits 10:8, the type, are 1, which is reserved");
    else if (type == EVENT_NMI && vector != VECTOR_NMI)
        entry_fail(c, field, 0, RULE, "an NMI with vector %u, must be 2", vector);
    else if (type == EVENT_EXCEPTION && vector > 31)
        entry_fail(c, field, 0, RULE, "a hardware exception with vector %u, must be at most 31",
                   vector);
    else if (type == EVENT_OTHER &&
             !(vmx_may_be_1(c->in->msrs, CONTROL_PRIMARY) & PRIMARY_MONITOR_TRAP_FLAG))
        entry_fail(c, field, 8, RULE,
                   "bits 10:8, the type, are 7, but this CPU has no monitor trap flag");
    else if (type == EVENT_OTHER && vector)
        entry_fail(c, field, 0, RULE, "a pending MTF exit with vector %u, must be 0", vector);
}

static void check_error_code(struct entry_checker *c)
{
    const uint32_t field = VMCS_ENTRY_INTERRUPTION_INFO;
    unsigned type = entry_event_type(c);
    uint8_t vector = (uint8_t)c->event;
    bool any = c->in->msrs->basic & BASIC_ANY_ERROR_CODE;
    bool pushes = event_vector_has_error(vector) && vector != VECTOR_CP;
    bool real_mode = c->unrestricted && !(c->cr0 & CR0_PE);

    if (!(c->event & EVENT_INFO_ERROR_CODE)) {
        if (type == EVENT_EXCEPTION && pushes && !real_mode && !any)
            entry_fail(c, field, 11, RULE,
                       "bit 11 is 0 but must be 1, exception %u delivers an error code", vector);
        return;
    }
    if (type != EVENT_EXCEPTION)
        entry_fail(c, field, 11, RULE, "bit 11 is 1 but must be 0, type %s has no error code",
                   event_type_name(type));
    else if (real_mode)
        entry_fail(c, field, 11, RULE,
                   "bit 11 is 1 but must be 0, real mode delivers no error codes");
    else if (!pushes && !any)
        entry_fail(c, field, 11, RULE,
                   "bit 11 is 1 but must be 0, exception %u delivers no error code", vector);
    entry_must_be_0(c, VMCS_ENTRY_ERROR_CODE, BITS(31, 16), RULE, "reserved");
}

static void check_length(struct entry_checker *c)
{
    unsigned type = entry_event_type(c);
    uint64_t length = entry_get(c, VMCS_ENTRY_INSTRUCTION_LENGTH);
    bool zero_allowed = c->in->msrs->misc & MISC_ZERO_LENGTH_INJECT;

    if (type < EVENT_SOFTWARE_INTERRUPT || type > EVENT_SOFTWARE_EXCEPTION)
        return;
    if (length > 15 || (!length && !zero_allowed))
        entry_fail(c, VMCS_ENTRY_INSTRUCTION_LENGTH, -1, RULE, "must be %u to 15 for a %s",
                   zero_allowed ? 0 : 1, event_type_name(type));
}

void entry_check_event(struct entry_checker *c)
{
    if (!c->event)
        return;
    entry_must_be_0(c, VMCS_ENTRY_INTERRUPTION_INFO, BITS(30, 12), RULE, "reserved");
    check_type_and_vector(c);
    check_error_code(c);
    check_length(c);
}
