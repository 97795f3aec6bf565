/* SPDX-License-Identifier: MIT */
/* VMX on this CPU: checks that it exists and is usable, reads its capabilities, and executes
 * VMXON. */
#include "arch/x86/cpu.h"
#include "arch/x86/cpu_facts.h"
#include "arch/x86/guarded.h"
#include "arch/x86/paging.h"
#include "arch/x86/smbios.h"
#include "arch/x86/this_cpu.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"
#include "vmx/alike.h"
#include "vmx/refuse.h"
#include "vmx/vmx.h"

#define CPUID1_EDX_MTRR   BIT(12)
#define MTRR_CAP_VARIABLE BITS(7, 0) /* the number of variable ranges */

struct vmx_machine vmx;
static struct vmx_identity boot_cpu; /* the other CPUs must agree with it */

/* Reads the capability MSRs, whose numbers are consecutive (SDM 3, appendix A). Whether a later one
 * exists follows from the earlier ones; the value of a missing one stays 0. */
static void identity_read_msrs(struct vmx_msrs *msrs)
{
    uint64_t *const always[] = {
        &msrs->basic,      &msrs->pin,        &msrs->primary,    &msrs->exit,
        &msrs->entry,      &msrs->misc,       &msrs->cr0_fixed0, &msrs->cr0_fixed1,
        &msrs->cr4_fixed0, &msrs->cr4_fixed1, &msrs->vmcs_enum,
    };
    uint64_t *const true_controls[] = {&msrs->true_pin, &msrs->true_primary, &msrs->true_exit,
                                       &msrs->true_entry};

    for (unsigned i = 0; i < ARRAY_SIZE(always); i++)
        rdmsr_safe(MSR_VMX_BASIC + i, always[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(true_controls) && msrs->basic & BASIC_TRUE_CONTROLS; i++)
        rdmsr_safe(MSR_VMX_TRUE_PIN + i, true_controls[i]);
    if (vmx_may_be_1(msrs, CONTROL_PRIMARY) & PRIMARY_SECONDARY_CONTROLS)
        rdmsr_safe(MSR_VMX_SECONDARY, &msrs->secondary);
    if (vmx_may_be_1(msrs, CONTROL_PRIMARY) & PRIMARY_TERTIARY_CONTROLS)
        rdmsr_safe(MSR_VMX_TERTIARY, &msrs->tertiary);
    if (vmx_may_be_1(msrs, CONTROL_SECONDARY) & (SECONDARY_EPT | SECONDARY_VPID))
        rdmsr_safe(MSR_VMX_EPT_VPID_CAP, &msrs->ept_vpid_cap);
    if (vmx_may_be_1(msrs, CONTROL_SECONDARY) & SECONDARY_VM_FUNCTIONS)
        rdmsr_safe(MSR_VMX_VMFUNC, &msrs->vmfunc);
}

bool vmx_read_msrs(struct vmx_msrs *msrs)
{
    *msrs = (struct vmx_msrs){0};
    bool exists = cpu_facts()->vmx;
    if (exists)
        identity_read_msrs(msrs);
    return exists;
}

static void identity_read_mtrrs(uint64_t mtrrs[MTRRS])
{
    if (!(cpuid(1, 0).edx & CPUID1_EDX_MTRR) || !rdmsr_safe(mtrr_msrs[0], &mtrrs[0]))
        return;
    uint64_t end = MTRRS_VARIABLE + 2 * field_get(mtrrs[0], MTRR_CAP_VARIABLE);
    for (unsigned i = 1; i < MTRRS && i < end; i++)
        rdmsr_safe(mtrr_msrs[i], &mtrrs[i]);
}

static void identity_read(struct vmx_identity *identity)
{
    memset(identity, 0, sizeof(*identity));
    identity_read_msrs(&identity->msrs);
    identity_read_mtrrs(identity->mtrrs);
    for (unsigned i = 0; i < CPUID_REGISTERS; i++) {
        const struct cpuid_register *want = &cpuid_registers[i];
        struct cpuid r = {0};
        if (cpuid(want->leaf & BIT(31), 0).eax >= want->leaf)
            r = cpuid(want->leaf, want->subleaf);
        const uint32_t registers[] = {r.eax, r.ebx, r.ecx, r.edx};
        identity->cpuid[i] = registers[want->reg];
    }
}

/* TXT's status, or 0 if this CPU has no SMX. */
static uint64_t txt_status(const struct cpu_facts *cpu)
{
    const volatile uint64_t *status =
        cpu->smx ? physical_map(HPA(TXT_STATUS), sizeof(*status), MAP_UNCACHED) : NULL;
    return status ? *status : 0;
}

/* Enables VMX in IA32_FEATURE_CONTROL, unless the firmware has locked that MSR. */
static enum exit_code enable_in_feature_control(const struct cpu_facts *cpu)
{
    uint64_t control, before;
    if (!rdmsr_safe(MSR_FEATURE_CONTROL, &control))
        return EXIT_OK; /* some hypervisors below this one offer VMX without the MSR */
    before = control;
    bool measured = txt_is_measured(txt_status(cpu));
    enum exit_code code =
        vmx_feature_control(cpu, smbios_names()->vendor, this_cpu(), measured, &control);
    if (!code && control != before)
        wrmsr(MSR_FEATURE_CONTROL, control);
    return code;
}

static bool vmxon(hpa_t region)
{
    bool failed;
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region) : "memory");
    return !failed;
}

static enum exit_code enter_vmx_operation(void)
{
    hpa_t region = page_alloc(0);
    if (page_is_none(region)) {
        log_error("no page left for the VMXON region");
        return EXIT_NO_MEMORY;
    }
    uint32_t *revision = phys_to_virt(region);
    page_clear(revision, 0);
    *revision = (uint32_t)field_get(vmx.msrs.basic, BASIC_REVISION);

    write_cr0((read_cr0() | vmx.msrs.cr0_fixed0) & vmx.msrs.cr0_fixed1);
    write_cr4((read_cr4() | vmx.msrs.cr4_fixed0 | CR4_VMXE) & vmx.msrs.cr4_fixed1);
    if (!vmxon(region)) {
        log_error("VMXON failed with CR0 = %#lx, CR4 = %#lx, revision %#x; is another hypervisor "
                  "already in VMX operation?",
                  read_cr0(), read_cr4(), *revision);
        return EXIT_NO_VMX;
    }
    return EXIT_OK;
}

/* The exit code for a missing control. */
static enum exit_code refuse_missing(const struct control *missing)
{
    vmx_explain_missing(cpu_facts());
    vmx_controls_log(&vmx.msrs);
    if (missing->set == CONTROL_SECONDARY && missing->mask == SECONDARY_EPT)
        return EXIT_NO_EPT;
    if (missing->set == CONTROL_PRIMARY && missing->mask == PRIMARY_SECONDARY_CONTROLS)
        return EXIT_NO_EPT;
    return EXIT_MISSING_CONTROL;
}

enum exit_code vmx_init(void)
{
    const struct cpu_facts *cpu = cpu_facts();
    vmx.maxphyaddr = cpu->physical_bits;
    if (!vmx_exists(cpu))
        return EXIT_NO_VMX;
    enum exit_code code = enable_in_feature_control(cpu);
    if (code)
        return code;
    identity_read(&boot_cpu);
    vmx.msrs = boot_cpu.msrs;
    if (vmx_negotiate(&vmx.msrs, &vmx.controls))
        return refuse_missing(vmx.controls.missing);
    vmx_controls_log(&vmx.msrs);
    vmx_name_errata(cpu);
    return enter_vmx_operation();
}

bool vmx_cpu_is_alike(void)
{
    struct vmx_identity here;
    struct cpu_facts cpu;
    char text[128];

    identity_read(&here);
    if (vmx_alike(&boot_cpu, &here, text, sizeof(text)))
        return true;
    cpu_facts_read(&cpu);
    const char *kind = core_kind_name(cpu.core_kind);
    log_error("CPU %u (APIC ID %u%s%s) runs no guests: %s; guests need CPUs that are alike",
              this_cpu(), cpus[this_cpu()].apic_id, kind ? ", " : "", kind ? kind : "", text);
    return false;
}

bool vmx_init_cpu(void)
{
    return enable_in_feature_control(cpu_facts()) == EXIT_OK && enter_vmx_operation() == EXIT_OK;
}
