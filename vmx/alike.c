/* SPDX-License-Identifier: MIT */
/* Compares two CPUs; see the header. Pure. */
#include "vmx/alike.h"

#include "lib/string.h"

#define OSXSAVE BIT(27) /* copies CR4.OSXSAVE */
#define OSPKE   BIT(4)  /* copies CR4.PKE */

const struct cpuid_register cpuid_registers[CPUID_REGISTERS] = {
    {0x1, 0, 0, 0, "CPUID.1:EAX"},
    {0x1, 0, 2, OSXSAVE, "CPUID.1:ECX"},
    {0x1, 0, 3, 0, "CPUID.1:EDX"},
    {0x7, 0, 1, 0, "CPUID.7:EBX"},
    {0x7, 0, 2, OSPKE, "CPUID.7:ECX"},
    {0x7, 0, 3, 0, "CPUID.7:EDX"},
    {0xd, 0, 0, 0, "CPUID.D:EAX"},
    {0xd, 0, 2, 0, "CPUID.D:ECX"},
    {0xd, 0, 3, 0, "CPUID.D:EDX"},
    {0xd, 1, 0, 0, "CPUID.D.1:EAX"},
    {0x80000001, 0, 2, 0, "CPUID.80000001:ECX"},
    {0x80000001, 0, 3, 0, "CPUID.80000001:EDX"},
    {0x80000008, 0, 0, 0, "CPUID.80000008:EAX (address widths)"},
    {0x80000008, 0, 1, 0, "CPUID.80000008:EBX"},
};

const uint16_t mtrr_msrs[MTRRS] = {
    0xfe,  0x2ff, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d,
    0x26e, 0x26f, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208,
    0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f, 0x210, 0x211, 0x212, 0x213,
};

#define MSR_ROW(field) offsetof(struct vmx_msrs, field)
static const struct {
    size_t offset;
    const char *name;
} msr_rows[] = {
    {MSR_ROW(basic), "IA32_VMX_BASIC"},
    {MSR_ROW(pin), "IA32_VMX_PINBASED_CTLS"},
    {MSR_ROW(primary), "IA32_VMX_PROCBASED_CTLS"},
    {MSR_ROW(exit), "IA32_VMX_EXIT_CTLS"},
    {MSR_ROW(entry), "IA32_VMX_ENTRY_CTLS"},
    {MSR_ROW(true_pin), "IA32_VMX_TRUE_PINBASED_CTLS"},
    {MSR_ROW(true_primary), "IA32_VMX_TRUE_PROCBASED_CTLS"},
    {MSR_ROW(true_exit), "IA32_VMX_TRUE_EXIT_CTLS"},
    {MSR_ROW(true_entry), "IA32_VMX_TRUE_ENTRY_CTLS"},
    {MSR_ROW(secondary), "IA32_VMX_PROCBASED_CTLS2"},
    {MSR_ROW(tertiary), "IA32_VMX_PROCBASED_CTLS3"},
    {MSR_ROW(misc), "IA32_VMX_MISC"},
    {MSR_ROW(cr0_fixed0), "IA32_VMX_CR0_FIXED0"},
    {MSR_ROW(cr0_fixed1), "IA32_VMX_CR0_FIXED1"},
    {MSR_ROW(cr4_fixed0), "IA32_VMX_CR4_FIXED0"},
    {MSR_ROW(cr4_fixed1), "IA32_VMX_CR4_FIXED1"},
    {MSR_ROW(ept_vpid_cap), "IA32_VMX_EPT_VPID_CAP"},
    {MSR_ROW(vmfunc), "IA32_VMX_VMFUNC"},
};
/* IA32_VMX_VMCS_ENUM may differ: nothing here depends on the highest index of a field. */
_Static_assert((ARRAY_SIZE(msr_rows) + 1) * sizeof(uint64_t) == sizeof(struct vmx_msrs),
               "a row for each other one");

static bool identity_agrees(const char *name, uint64_t boot, uint64_t other, char *text,
                            size_t size)
{
    if (boot != other)
        snprintf(text, size, "its %s is %#lx, the boot CPU's is %#lx", name, other, boot);
    return boot == other;
}

static uint64_t identity_msr(const struct vmx_msrs *msrs, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)msrs + offset, sizeof(value));
    return value;
}

bool vmx_alike(const struct vmx_identity *boot, const struct vmx_identity *other, char *text,
               size_t size)
{
    for (unsigned i = 0; i < CPUID_REGISTERS; i++)
        if (!identity_agrees(cpuid_registers[i].name, boot->cpuid[i] & ~cpuid_registers[i].but,
                             other->cpuid[i] & ~cpuid_registers[i].but, text, size))
            return false;
    for (unsigned i = 0; i < ARRAY_SIZE(msr_rows); i++)
        if (!identity_agrees(msr_rows[i].name, identity_msr(&boot->msrs, msr_rows[i].offset),
                             identity_msr(&other->msrs, msr_rows[i].offset), text, size))
            return false;
    for (unsigned i = 0; i < MTRRS; i++) {
        char name[48];
        snprintf(name, sizeof(name), "MTRR (MSR %#x, set by the firmware)", mtrr_msrs[i]);
        if (!identity_agrees(name, boot->mtrrs[i], other->mtrrs[i], text, size))
            return false;
    }
    return true;
}
