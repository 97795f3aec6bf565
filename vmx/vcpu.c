/* SPDX-License-Identifier: MIT */
/* A vCPU's VMCS: its initialization, VM entry, and the failures of an entry. */
#include "arch/x86/cpu.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/mitigate.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"
#include "vmx/dump.h"
#include "vmx/entry_check.h"
#include "vmx/errors.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

bool vmx_enter(struct vmx_vcpu *vcpu); /* vmx/entry.S */
extern const char vmx_exit_entry[], vmx_exit_entry_filled[], vmx_exit_entry_cleared[];

/* The offsets RAX, HOST_RSP and LAUNCHED in vmx/entry.S. */
_Static_assert(offsetof(struct vmx_vcpu, regs) == 0, "vmx/entry.S");
_Static_assert(offsetof(struct vmx_vcpu, host_rsp) == 544, "vmx/entry.S");
_Static_assert(offsetof(struct vmx_vcpu, launched) == 552, "vmx/entry.S");

#define MSR_BITMAP_HALF   0x400 /* bytes for MSRs 0 to 0x1fff; those for 0xc0000000 and up follow */
#define DEBUGCTL_DEFINED  (BITS(15, 6) | BITS(2, 0))
#define CPUID7_RTM        BIT(11)
#define MSR_HIGH_BASE     0xc0000000u
#define LINK_POINTER_NONE ~0ull

static bool vmclear(hpa_t vmcs)
{
    bool failed;
    __asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(vmcs) : "memory");
    return !failed;
}

static void vmptrld(hpa_t vmcs)
{
    bool failed;
    __asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs) : "memory");
    BUG_ON(failed);
}

/* Writes the host state that differs between CPUs. vmx/entry.S writes HOST_RSP. */
bool vmx_load(struct vmx_vcpu *vcpu)
{
    const struct cpu *cpu = &cpus[this_cpu()];
    vmptrld(vcpu->vmcs);
    if (vcpu->host == cpu)
        return false;
    vcpu->host = cpu;
    vmwrite(VMCS_HOST_GS_BASE, (uint64_t)cpu);
    vmwrite(VMCS_HOST_TR_BASE, (uint64_t)&cpu->tss);
    vmwrite(VMCS_HOST_GDTR_BASE, (uint64_t)cpu->gdt);
    return true;
}

void vmx_unload(struct vmx_vcpu *vcpu)
{
    bool cleared = vmclear(vcpu->vmcs);
    BUG_ON(!cleared);
    vcpu->launched = false;
}

static void vmcs_write_controls(struct vmx_vcpu *vcpu, uint64_t eptp, uint16_t vpid)
{
    const struct vmx_controls *c = &vmx.controls;
    uint64_t secondary = c->set[CONTROL_SECONDARY];

    /* vmx_pml_switch(), vmx_ve_enable() and vmx_apicv_switch() enable what is needed. */
    secondary &= ~(SECONDARY_PML | SECONDARY_EPT_VIOLATION_VE | SECONDARY_APICV);
    if (!vpid)
        secondary &= ~SECONDARY_VPID;
    vmwrite(VMCS_PIN_CONTROLS, c->set[CONTROL_PIN]);
    vmwrite(VMCS_PRIMARY_CONTROLS, c->set[CONTROL_PRIMARY] & ~PRIMARY_TPR_SHADOW);
    vmwrite(VMCS_SECONDARY_CONTROLS, secondary);
    vmwrite(VMCS_EXIT_CONTROLS, c->set[CONTROL_EXIT]);
    vmwrite(VMCS_ENTRY_CONTROLS, c->set[CONTROL_ENTRY]);
    vmwrite(VMCS_EXCEPTION_BITMAP, EXCEPTIONS_EXITING);
    vmwrite(VMCS_PAGE_FAULT_ERROR_MASK, 0);
    vmwrite(VMCS_PAGE_FAULT_ERROR_MATCH, 0);
    vmwrite(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, 0);
    vmwrite(VMCS_MSR_BITMAP, vcpu->msr_bitmap.v);
    vmwrite(VMCS_EPT_POINTER, eptp);
    vmwrite(VMCS_LINK_POINTER, LINK_POINTER_NONE);
    if (secondary & SECONDARY_VPID)
        vmwrite(VMCS_VPID, vpid);
    if (secondary & SECONDARY_XSAVES)
        vmwrite(VMCS_XSS_EXITING_BITMAP, 0);
}

static void vmcs_write_host_state(void)
{
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmwrite(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmwrite(VMCS_HOST_CS_SELECTOR, SEL_CODE);
    vmwrite(VMCS_HOST_SS_SELECTOR, SEL_DATA);
    vmwrite(VMCS_HOST_DS_SELECTOR, SEL_DATA);
    vmwrite(VMCS_HOST_ES_SELECTOR, SEL_DATA);
    vmwrite(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite(VMCS_HOST_TR_SELECTOR, SEL_TSS);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_IDTR_BASE, idt_base().v);
    vmwrite(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
    uint32_t does = mitigate_actions();
    vmwrite(VMCS_HOST_RIP, (uint64_t)(does & DO_CLEAR_GPRS ? vmx_exit_entry_cleared
                                      : does & DO_RSB_FILL ? vmx_exit_entry_filled
                                                           : vmx_exit_entry));
}

int vmx_vcpu_init(struct vmx_vcpu *vcpu, uint64_t eptp, uint16_t vpid)
{
    vmx_update_extra_work(vcpu);
    vcpu->vmcs = page_alloc(0);
    vcpu->msr_bitmap = page_alloc(0);
    if (page_is_none(vcpu->vmcs) || page_is_none(vcpu->msr_bitmap)) {
        log_error("no page left for a VMCS");
        return -ENOMEM;
    }
    uint32_t *revision = phys_to_virt(vcpu->vmcs);
    page_clear(revision, 0);
    *revision = (uint32_t)field_get(vmx.msrs.basic, BASIC_REVISION);
    memset(phys_to_virt(vcpu->msr_bitmap), 0xff, PAGE_SIZE);

    vmx_unload(vcpu);
    (void)vmx_load(vcpu);
    vmcs_write_controls(vcpu, eptp, vpid);
    vmcs_write_host_state();
    return 0;
}

bool vmx_ve_enable(hpa_t area)
{
    if (!vmx_has(&vmx.controls, CONTROL_SECONDARY, SECONDARY_EPT_VIOLATION_VE))
        return false;
    vmwrite(VMCS_VE_INFORMATION_ADDRESS, area.v);
    vmwrite(VMCS_EPTP_INDEX, 0);
    vmwrite(VMCS_SECONDARY_CONTROLS, vmread(VMCS_SECONDARY_CONTROLS) | SECONDARY_EPT_VIOLATION_VE);
    return true;
}

void vmx_vcpu_destroy(struct vmx_vcpu *vcpu)
{
    if (vcpu->vmcs.v && !page_is_none(vcpu->vmcs)) {
        vmx_unload(vcpu);
        page_free(vcpu->vmcs, 0);
    }
    if (vcpu->pml.v)
        page_free(vcpu->pml, 0);
    if (vcpu->apicv.page.v)
        page_free(vcpu->apicv.page, 0);
    if (vcpu->msr_bitmap.v && !page_is_none(vcpu->msr_bitmap))
        page_free(vcpu->msr_bitmap, 0);
}

/* Sets or clears the MSR's bit in one of the bitmaps: `bitmap` is the offset of the bitmap for
 * reads, 0, or of the one for writes. */
static void write_msr_bit(struct vmx_vcpu *vcpu, uint32_t msr, unsigned bitmap, bool exits)
{
    uint8_t *bits = phys_to_virt(vcpu->msr_bitmap);
    uint32_t index = msr & 0x1fff;
    bits += bitmap + (msr >= MSR_HIGH_BASE ? MSR_BITMAP_HALF : 0);
    bits[index / 8] &= (uint8_t)~BIT(index % 8);
    bits[index / 8] |= (uint8_t)(exits ? BIT(index % 8) : 0);
}

void vmx_pass_msr_reads(struct vmx_vcpu *vcpu, uint32_t msr)
{
    write_msr_bit(vcpu, msr, 0, false);
}

void vmx_pass_msr_writes(struct vmx_vcpu *vcpu, uint32_t msr)
{
    write_msr_bit(vcpu, msr, 2 * MSR_BITMAP_HALF, false);
}

void vmx_pass_msr(struct vmx_vcpu *vcpu, uint32_t msr)
{
    vmx_pass_msr_reads(vcpu, msr);
    vmx_pass_msr_writes(vcpu, msr);
}

void vmx_intercept_msr(struct vmx_vcpu *vcpu, uint32_t msr)
{
    write_msr_bit(vcpu, msr, 0, true);
    write_msr_bit(vcpu, msr, 2 * MSR_BITMAP_HALF, true);
}

static uint64_t vmcs_read_field(void *context, uint32_t field)
{
    (void)context;
    return vmread(field);
}

static struct entry_check_input vcpu_check_input(void)
{
    struct cpuid sizes = cpuid(0x80000008, 0), features = cpuid(7, 0);
    return (struct entry_check_input){
        .read = vmcs_read_field,
        .msrs = &vmx.msrs,
        .maxphyaddr = vmx.maxphyaddr,
        .linear_bits = sizes.eax >> 8 & 0xff,
        .efer_valid = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
        .debugctl_valid = DEBUGCTL_DEFINED,
        .perf_global_valid = ~0ull,
        .rtm = features.ebx & CPUID7_RTM,
    };
}

static void vcpu_log_finding(void *context, const struct entry_finding *finding)
{
    (void)context;
    log_error("%s", finding->text);
}

/* Checks the VMCS before the first entry, which the hypervisor itself has set up. */
static bool first_entry_is_valid(void)
{
    struct entry_check_input input = vcpu_check_input();
    if (!entry_check(&input, vcpu_log_finding, NULL))
        return true;
    vmcs_dump(vmcs_read_field, NULL, &vmx.msrs);
    return false;
}

/* Logs the reason for a failed entry. The checks should find it; the dump is for the case that they
 * do not. */
static int entry_explain_failure(void)
{
    struct entry_check_input input = vcpu_check_input();
    entry_check_log(&input);
    vmcs_dump(vmcs_read_field, NULL, &vmx.msrs);
    return -EINVAL;
}

int vmx_run(struct vmx_vcpu *vcpu)
{
    if (unlikely(!vcpu->checked) && vmx.entry_checks && !first_entry_is_valid())
        return -EINVAL;
    vcpu->checked = true;
    if (unlikely(!vmx_enter(vcpu))) {
        vm_instruction_error_log(vcpu->launched ? "VMRESUME" : "VMLAUNCH",
                                 (uint32_t)vmread(VMCS_INSTRUCTION_ERROR));
        return entry_explain_failure();
    }
    vcpu->launched = true;
    if (likely(!(vcpu->exit.reason & EXIT_REASON_ENTRY_FAILED)))
        return 0;
    entry_failure_log(vcpu->exit.reason, vmread(VMCS_EXIT_QUALIFICATION));
    if ((vcpu->exit.reason & EXIT_REASON_BASIC) == REASON_ENTRY_FAILED_MACHINE_CHECK)
        vmx_machine_check(vcpu);
    return entry_explain_failure();
}

bool vmx_take_host_event(struct vmx_vcpu *vcpu)
{
    const struct event event = event_decode(vmx_exit_interruption(&vcpu->exit), 0, 0);
    if (event.type == EVENT_EXCEPTION && event.vector == VECTOR_MC)
        vmx_machine_check(vcpu);
    if (event.type != EVENT_NMI)
        return false;
    __asm__ volatile("int $2");
    return true;
}

void vmx_set_primary(uint64_t mask, bool on)
{
    uint64_t controls = vmread(VMCS_PRIMARY_CONTROLS);
    vmwrite(VMCS_PRIMARY_CONTROLS, on ? controls | mask : controls & ~mask);
}
