/* SPDX-License-Identifier: MIT */
/* The entry checks of the control fields (SDM 3, 27.2.1), except the event to be injected. */
#include "lib/string.h"
#include "vmx/entry_check_internal.h"

static const char EXECUTION[] = "27.2.1.1";
static const char EXIT[] = "27.2.1.2";
static const char ENTRY[] = "27.2.1.3";

/* Checks the reserved bits against the capability MSRs. */
static void check_set(struct entry_checker *c, enum control_set set, const char *rule)
{
    uint32_t field = vmx_control_field(set);
    entry_must_be_1(c, field, vmx_must_be_1(c->in->msrs, set), rule,
                    "by the capability MSR of these controls");
    entry_must_be_0(c, field, ~vmx_may_be_1(c->in->msrs, set), rule,
                    "by the capability MSR of these controls");
}

/* A control that may be 1 only if another control is 1 (NEEDS) or 0 (EXCLUDES). */
#define NEEDS(set, bit, other, other_bit, rule)                                   \
    {                                                                             \
        CONTROL_##set, set##_##bit, CONTROL_##other, other##_##other_bit, 1, rule \
    }
#define EXCLUDES(set, bit, other, other_bit, rule)                                \
    {                                                                             \
        CONTROL_##set, set##_##bit, CONTROL_##other, other##_##other_bit, 0, rule \
    }

static const struct dependency {
    enum control_set set;
    uint64_t mask;
    enum control_set other;
    uint64_t other_mask;
    bool state;
    const char *rule;
} dependencies[] = {
    /* clang-format off */
    NEEDS(PIN, VIRTUAL_NMIS, PIN, NMI_EXITING, EXECUTION),
    NEEDS(PRIMARY, NMI_WINDOW_EXITING, PIN, VIRTUAL_NMIS, EXECUTION),
    NEEDS(SECONDARY, VIRTUALIZE_X2APIC, PRIMARY, TPR_SHADOW, EXECUTION),
    NEEDS(SECONDARY, APIC_REGISTERS, PRIMARY, TPR_SHADOW, EXECUTION),
    NEEDS(SECONDARY, VIRTUAL_INTERRUPT_DELIVERY, PRIMARY, TPR_SHADOW, EXECUTION),
    EXCLUDES(SECONDARY, VIRTUALIZE_X2APIC, SECONDARY, VIRTUALIZE_APIC_ACCESSES, EXECUTION),
    NEEDS(SECONDARY, VIRTUAL_INTERRUPT_DELIVERY, PIN, EXTERNAL_INTERRUPT_EXITING, EXECUTION),
    NEEDS(PIN, POSTED_INTERRUPTS, SECONDARY, VIRTUAL_INTERRUPT_DELIVERY, EXECUTION),
    NEEDS(PIN, POSTED_INTERRUPTS, EXIT, ACKNOWLEDGE_INTERRUPT, EXECUTION),
    NEEDS(SECONDARY, UNRESTRICTED_GUEST, SECONDARY, EPT, EXECUTION),
    NEEDS(SECONDARY, PML, SECONDARY, EPT, EXECUTION),
    NEEDS(SECONDARY, MODE_BASED_EXECUTE, SECONDARY, EPT, EXECUTION),
    NEEDS(SECONDARY, SUB_PAGE_PERMISSIONS, SECONDARY, EPT, EXECUTION),
    NEEDS(SECONDARY, PT_GUEST_PHYSICAL, SECONDARY, EPT, EXECUTION),
    NEEDS(SECONDARY, PT_GUEST_PHYSICAL, ENTRY, LOAD_RTIT_CTL, EXECUTION),
    NEEDS(SECONDARY, PT_GUEST_PHYSICAL, EXIT, CLEAR_RTIT_CTL, EXECUTION),
    NEEDS(EXIT, SAVE_PREEMPTION_TIMER, PIN, PREEMPTION_TIMER, EXIT),
    /* clang-format on */
};

static void check_dependencies(struct entry_checker *c)
{
    for (unsigned i = 0; i < ARRAY_SIZE(dependencies); i++) {
        const struct dependency *d = &dependencies[i];
        char other[64], why[96];
        if (!entry_on(c, d->set, d->mask) || entry_on(c, d->other, d->other_mask) == d->state)
            continue;
        vmx_control_names(d->other, d->other_mask, other, sizeof(other));
        snprintf(why, sizeof(why), "because %s is %u", other, !d->state);
        entry_must_be_0(c, vmx_control_field(d->set), d->mask, d->rule, why);
    }
    entry_must_be_0(c, VMCS_ENTRY_CONTROLS,
                    c->set[CONTROL_ENTRY] & (ENTRY_TO_SMM | ENTRY_DEACTIVATE_DUAL_SMM), ENTRY,
                    "outside SMM");
}

/* A field that holds a physical address if its control is 1. Bits `top`:0 of the address must be
 * 0. */
#define ADDRESS(field, set, bit, top)                          \
    {                                                          \
        VMCS_##field, CONTROL_##set, set##_##bit, BITS(top, 0) \
    }

static const struct address {
    uint32_t field;
    enum control_set set;
    uint64_t mask;
    uint64_t low; /* the bits that must be 0 */
} addresses[] = {
    /* clang-format off */
    ADDRESS(IO_BITMAP_A, PRIMARY, IO_BITMAPS, 11),
    ADDRESS(IO_BITMAP_B, PRIMARY, IO_BITMAPS, 11),
    ADDRESS(MSR_BITMAP, PRIMARY, MSR_BITMAPS, 11),
    ADDRESS(VIRTUAL_APIC_ADDRESS, PRIMARY, TPR_SHADOW, 11),
    ADDRESS(APIC_ACCESS_ADDRESS, SECONDARY, VIRTUALIZE_APIC_ACCESSES, 11),
    ADDRESS(POSTED_INTERRUPT_DESCRIPTOR, PIN, POSTED_INTERRUPTS, 5),
    ADDRESS(PML_ADDRESS, SECONDARY, PML, 11),
    ADDRESS(SPP_TABLE_POINTER, SECONDARY, SUB_PAGE_PERMISSIONS, 11),
    ADDRESS(VMREAD_BITMAP, SECONDARY, VMCS_SHADOWING, 11),
    ADDRESS(VMWRITE_BITMAP, SECONDARY, VMCS_SHADOWING, 11),
    ADDRESS(VE_INFORMATION_ADDRESS, SECONDARY, EPT_VIOLATION_VE, 11),
    ADDRESS(LOW_PASID_DIRECTORY, SECONDARY, PASID_TRANSLATION, 11),
    ADDRESS(HIGH_PASID_DIRECTORY, SECONDARY, PASID_TRANSLATION, 11),
    /* clang-format on */
};

static void check_addresses(struct entry_checker *c)
{
    for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++)
        if (entry_on(c, addresses[i].set, addresses[i].mask))
            entry_physical(c, addresses[i].field, addresses[i].low, EXECUTION);
}

/* Checks the EPT pointer (SDM 3, 25.6.11). */
static void check_ept_pointer(struct entry_checker *c)
{
    uint64_t cap = c->in->msrs->ept_vpid_cap;
    uint64_t eptp = entry_get(c, VMCS_EPT_POINTER);
    unsigned type = (unsigned)(eptp & 7);
    unsigned levels = (unsigned)field_get(eptp, BITS(5, 3)) + 1;

    if (!(type == 0 && cap & EPT_CAP_UC) && !(type == 6 && cap & EPT_CAP_WB))
        entry_fail(c, VMCS_EPT_POINTER, 0, EXECUTION,
                   "bits 2:0, the memory type, are %u, but IA32_VMX_EPT_VPID_CAP allows%s%s%s",
                   type, cap & EPT_CAP_UC ? " 0" : "",
                   (cap & EPT_CAP_UC) && (cap & EPT_CAP_WB) ? " and" : "",
                   cap & EPT_CAP_WB ? " 6" : "");
    if (!(levels == 4 && cap & EPT_CAP_WALK_4) && !(levels == 5 && cap & EPT_CAP_WALK_5))
        entry_fail(c, VMCS_EPT_POINTER, 3, EXECUTION,
                   "bits 5:3 select a page walk of %u levels, which this CPU does not support",
                   levels);
    if (!(cap & EPT_CAP_ACCESSED_DIRTY))
        entry_must_be_0(c, VMCS_EPT_POINTER, BIT(6), EXECUTION,
                        "because this CPU has no accessed and dirty flags for EPT");
    if (!(cap & EPT_CAP_SHADOW_STACK))
        entry_must_be_0(c, VMCS_EPT_POINTER, BIT(7), EXECUTION,
                        "because this CPU has no supervisor shadow-stack control for EPT");
    entry_must_be_0(c, VMCS_EPT_POINTER, BITS(11, 8), EXECUTION, "reserved");
    entry_must_be_0(c, VMCS_EPT_POINTER, entry_beyond_physical(c), EXECUTION,
                    "beyond the physical-address width");
}

static void check_vm_functions(struct entry_checker *c)
{
    entry_must_be_0(c, VMCS_VM_FUNCTION_CONTROLS, ~c->in->msrs->vmfunc, EXECUTION,
                    "by IA32_VMX_VMFUNC");
    if (!(entry_get(c, VMCS_VM_FUNCTION_CONTROLS) & c->in->msrs->vmfunc & BIT(0)))
        return;
    if (!entry_on(c, CONTROL_SECONDARY, SECONDARY_EPT))
        entry_must_be_0(c, VMCS_VM_FUNCTION_CONTROLS, BIT(0), EXECUTION, "because enable EPT is 0");
    entry_physical(c, VMCS_EPTP_LIST_ADDRESS, BITS(11, 0), EXECUTION);
}

/* Checks the fields that are neither sets of controls nor addresses. */
static void check_values(struct entry_checker *c)
{
    uint64_t targets = field_get(c->in->msrs->misc, MISC_CR3_TARGETS);
    if (entry_get(c, VMCS_CR3_TARGET_COUNT) > targets)
        entry_fail(c, VMCS_CR3_TARGET_COUNT, -1, EXECUTION, "must be at most %llu",
                   (unsigned long long)targets);
    if (entry_on(c, CONTROL_PRIMARY, PRIMARY_TPR_SHADOW) &&
        !entry_on(c, CONTROL_SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY))
        entry_must_be_0(c, VMCS_TPR_THRESHOLD, BITS(31, 4), EXECUTION,
                        "because virtual-interrupt delivery is 0");
    if (entry_on(c, CONTROL_PIN, PIN_POSTED_INTERRUPTS))
        entry_must_be_0(c, VMCS_POSTED_INTERRUPT_VECTOR, BITS(15, 8), EXECUTION,
                        "a vector has eight bits");
    if (entry_on(c, CONTROL_SECONDARY, SECONDARY_VPID) && !entry_get(c, VMCS_VPID))
        entry_fail(c, VMCS_VPID, -1, EXECUTION, "must not be 0, which is the host's");
    if (entry_on(c, CONTROL_SECONDARY, SECONDARY_TSC_SCALING) && !entry_get(c, VMCS_TSC_MULTIPLIER))
        entry_fail(c, VMCS_TSC_MULTIPLIER, -1, EXECUTION, "must not be 0");
    if (entry_on(c, CONTROL_SECONDARY, SECONDARY_EPT))
        check_ept_pointer(c);
    if (entry_on(c, CONTROL_SECONDARY, SECONDARY_VM_FUNCTIONS))
        check_vm_functions(c);
}

/* Checks an area of 16-byte MSR entries: it must be aligned, and its last byte must lie within the
 * physical-address width. */
static void check_msr_area(struct entry_checker *c, uint32_t count_field, uint32_t address_field,
                           const char *rule)
{
    uint64_t count = entry_get(c, count_field);
    uint64_t address = entry_get(c, address_field);
    uint64_t last = address + count * 16 - 1;

    if (!count)
        return;
    entry_physical(c, address_field, BITS(3, 0), rule);
    uint64_t beyond = entry_beyond_physical(c);
    if (c->in->msrs->basic & BASIC_32BIT_ADDRESSES)
        beyond |= HIGH_HALF;
    if (!(address & beyond) && last & beyond)
        entry_fail(c, count_field, -1, rule,
                   "the area ends at 0x%llx, beyond the physical-address width",
                   (unsigned long long)last);
}

void entry_check_controls(struct entry_checker *c)
{
    check_set(c, CONTROL_PIN, EXECUTION);
    check_set(c, CONTROL_PRIMARY, EXECUTION);
    if (entry_on(c, CONTROL_PRIMARY, PRIMARY_SECONDARY_CONTROLS))
        check_set(c, CONTROL_SECONDARY, EXECUTION);
    if (entry_on(c, CONTROL_PRIMARY, PRIMARY_TERTIARY_CONTROLS))
        check_set(c, CONTROL_TERTIARY, EXECUTION);
    check_set(c, CONTROL_EXIT, EXIT);
    check_set(c, CONTROL_ENTRY, ENTRY);
    check_dependencies(c);
    check_addresses(c);
    check_values(c);
    check_msr_area(c, VMCS_EXIT_MSR_STORE_COUNT, VMCS_EXIT_MSR_STORE_ADDRESS, EXIT);
    check_msr_area(c, VMCS_EXIT_MSR_LOAD_COUNT, VMCS_EXIT_MSR_LOAD_ADDRESS, EXIT);
    check_msr_area(c, VMCS_ENTRY_MSR_LOAD_COUNT, VMCS_ENTRY_MSR_LOAD_ADDRESS, ENTRY);
}
