/* SPDX-License-Identifier: MIT */
/* The VMX capability MSRs in words; see the header. */
#include "vmx/capabilities.h"

#include "lib/bit_words.h"
#include "lib/string.h"

#define WORDS_MAX 1024 /* the names of all secondary controls */

typedef void print_fn(const char *key, const char *value);

static char value[WORDS_MAX];

static const char *memory_type(uint64_t type)
{
    return type == 6 ? "write-back" : type == 0 ? "uncached" : "an unknown memory type";
}

static void print_basic(uint64_t basic, print_fn *print)
{
    static const struct bit_word flags[] = {
        {BASIC_32BIT_ADDRESSES, "physical addresses of 32 bits"},
        {BASIC_DUAL_SMM, "dual-monitor treatment of SMM"},
        {BASIC_INS_OUTS_INFO, "information of INS and OUTS"},
        {BASIC_TRUE_CONTROLS, "TRUE control MSRs"},
        {BASIC_ANY_ERROR_CODE, "error codes are optional"},
    };
    const uint64_t fields = BASIC_REVISION | BASIC_VMCS_SIZE | BASIC_MEMORY_TYPE;
    int used = snprintf(value, sizeof(value), "%#lx: revision %#lx, a VMCS of %lu bytes, %s", basic,
                        field_get(basic, BASIC_REVISION), field_get(basic, BASIC_VMCS_SIZE),
                        memory_type(field_get(basic, BASIC_MEMORY_TYPE)));
    if (basic & ~fields)
        used += snprintf(value + used, sizeof(value) - (size_t)used, ", ");
    (void)bit_words(basic & ~fields, flags, ARRAY_SIZE(flags), value + used,
                    (unsigned)(sizeof(value) - (size_t)used));
    print("IA32_VMX_BASIC", value);
}

static void print_misc(uint64_t misc, print_fn *print)
{
    static const struct bit_word flags[] = {
        {MISC_STORES_LMA, "exits store EFER.LMA"},
        {MISC_HLT_STATE, "HLT state"},
        {MISC_SHUTDOWN_STATE, "shutdown state"},
        {MISC_WAIT_FOR_SIPI, "wait-for-SIPI state"},
        {BIT(14), "Intel PT in VMX operation"},
        {BIT(15), "RDMSR of IA32_SMBASE in SMM"},
        {BIT(28), "SMM without exit on VMXOFF"},
        {MISC_VMWRITE_ANY, "VMWRITE to any field"},
        {MISC_ZERO_LENGTH_INJECT, "injection with length 0"},
    };
    const uint64_t fields = MISC_TIMER_RATE | MISC_CR3_TARGETS | MISC_MSR_LIST_MAX | BITS(63, 32);
    int used =
        snprintf(value, sizeof(value),
                 "%#lx: the preemption timer counts every %lu TSC ticks, %lu CR3 targets, "
                 "%lu MSRs in a list",
                 misc, 1ul << field_get(misc, MISC_TIMER_RATE), field_get(misc, MISC_CR3_TARGETS),
                 512 * (field_get(misc, MISC_MSR_LIST_MAX) + 1));
    if (misc & ~fields)
        used += snprintf(value + used, sizeof(value) - (size_t)used, ", ");
    (void)bit_words(misc & ~fields, flags, ARRAY_SIZE(flags), value + used,
                    (unsigned)(sizeof(value) - (size_t)used));
    print("IA32_VMX_MISC", value);
}

/* The controls of a set that may be 1, and those of them that must be. */
static void print_controls(const struct vmx_msrs *msrs, enum control_set set, print_fn *print)
{
    uint64_t may = vmx_may_be_1(msrs, set), must = vmx_must_be_1(msrs, set);
    char key[48];
    if (!may)
        return;
    snprintf(key, sizeof(key), "%s controls that may be 1", vmx_control_set_name(set));
    int used = snprintf(value, sizeof(value), "%#lx: ", may);
    (void)vmx_control_names(set, may, value + used, (unsigned)(sizeof(value) - (size_t)used));
    print(key, value);
    snprintf(key, sizeof(key), "%s controls that must be 1", vmx_control_set_name(set));
    used = snprintf(value, sizeof(value), "%#lx: ", must);
    if (vmx_control_names(set, must, value + used, (unsigned)(sizeof(value) - (size_t)used)))
        print(key, value);
}

static void print_raw(const char *key, uint64_t msr, print_fn *print)
{
    snprintf(value, sizeof(value), "%#lx", msr);
    print(key, value);
}

void vmx_capabilities(const struct vmx_msrs *msrs, print_fn *print)
{
    const struct {
        const char *name;
        uint64_t msr;
    } raw[] = {
        {"IA32_VMX_PINBASED_CTLS", msrs->pin},
        {"IA32_VMX_PROCBASED_CTLS", msrs->primary},
        {"IA32_VMX_EXIT_CTLS", msrs->exit},
        {"IA32_VMX_ENTRY_CTLS", msrs->entry},
        {"IA32_VMX_TRUE_PINBASED_CTLS", msrs->true_pin},
        {"IA32_VMX_TRUE_PROCBASED_CTLS", msrs->true_primary},
        {"IA32_VMX_TRUE_EXIT_CTLS", msrs->true_exit},
        {"IA32_VMX_TRUE_ENTRY_CTLS", msrs->true_entry},
        {"IA32_VMX_PROCBASED_CTLS2", msrs->secondary},
        {"IA32_VMX_PROCBASED_CTLS3", msrs->tertiary},
        {"IA32_VMX_CR0_FIXED0", msrs->cr0_fixed0},
        {"IA32_VMX_CR0_FIXED1", msrs->cr0_fixed1},
        {"IA32_VMX_CR4_FIXED0", msrs->cr4_fixed0},
        {"IA32_VMX_CR4_FIXED1", msrs->cr4_fixed1},
        {"IA32_VMX_VMCS_ENUM", msrs->vmcs_enum},
        {"IA32_VMX_VMFUNC", msrs->vmfunc},
    };
    print_basic(msrs->basic, print);
    print_misc(msrs->misc, print);
    for (unsigned i = 0; i < ARRAY_SIZE(raw); i++)
        if (raw[i].msr)
            print_raw(raw[i].name, raw[i].msr, print);
    for (enum control_set set = 0; set < CONTROL_SETS; set++)
        print_controls(msrs, set, print);
}
