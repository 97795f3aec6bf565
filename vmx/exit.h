/*
 * The exit record: why the guest stopped, and what the VMCS says about it.
 *
 * Each exit reason defines only some of the exit-information fields (SDM 3, 28.2); what the others
 * hold differs between CPUs and emulators (decision D7). So each field is read through a function
 * that knows for which reasons it is defined, and asking for it after any other is a BUG.
 */
#pragma once

#include "lib/assert.h"
#include "lib/types.h"
#include "vmx/errors.h"
#include "vmx/vmcs.h"

struct vmx_exit {
    uint32_t reason;        /* basic exit reason, enum exit_reason */
    uint32_t idt_vectoring; /* the event whose delivery was interrupted; bit 31: valid */
};

#define DEFINES_QUALIFICATION BIT(0)
#define DEFINES_LENGTH        BIT(1)
#define DEFINES_GPA           BIT(2)
#define DEFINES_INTERRUPTION  BIT(3)
#define DEFINES_INFO          BIT(4)
extern const uint8_t vmx_exit_defines[REASON_COUNT];

static inline uint64_t vmx_exit_field(const struct vmx_exit *e, uint64_t defines, uint32_t field)
{
    BUG_ON(!(vmx_exit_defines[e->reason] & defines));
    return vmread(field);
}

static inline uint64_t vmx_exit_qualification(const struct vmx_exit *e)
{
    return vmx_exit_field(e, DEFINES_QUALIFICATION, VMCS_EXIT_QUALIFICATION);
}

/* Of the instruction that exited, in bytes. */
static inline uint64_t vmx_exit_length(const struct vmx_exit *e)
{
    return vmx_exit_field(e, DEFINES_LENGTH, VMCS_EXIT_INSTRUCTION_LENGTH);
}

static inline uint64_t vmx_exit_info(const struct vmx_exit *e)
{
    return vmx_exit_field(e, DEFINES_INFO, VMCS_EXIT_INSTRUCTION_INFO);
}

static inline uint32_t vmx_exit_interruption(const struct vmx_exit *e)
{
    return (uint32_t)vmx_exit_field(e, DEFINES_INTERRUPTION, VMCS_EXIT_INTERRUPTION_INFO);
}

static inline gpa_t vmx_exit_gpa(const struct vmx_exit *e)
{
    return GPA(vmx_exit_field(e, DEFINES_GPA, VMCS_GUEST_PHYSICAL_ADDRESS));
}
