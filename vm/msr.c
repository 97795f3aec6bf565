/* SPDX-License-Identifier: MIT */
/* A guest's MSRs. Most of them are its own and are used without an exit; a few are emulated or have
 * a fixed value; any other one is #GP. */
#include "arch/x86/cpu.h"
#include "vm/apic_base.h"
#include "vm/apicv.h"
#include "vm/exits.h"
#include "vm/features.h"
#include "vm/refused.h"
#include "vm/vm.h"
#include "lib/string.h"
#include "dev/lapic_msr.h"
#include "vmx/vmcs.h"

#define MSR_TSC           0x10
#define MSR_TSC_ADJUST    0x3b
#define MSR_PLATFORM_ID   0x17
#define MSR_BIOS_SIGN_ID  0x8b
#define MSR_DEBUGCTL      0x1d9
#define MSR_TSC_DEADLINE  0x6e0
#define APIC_BASE_BSP     BIT(8) /* bootstrap processor */
#define APIC_BASE_PAGE    BITS(51, 12)
#define APIC_BASE_MODE    BITS(11, 10)
#define MISC_ENABLE_GUEST BIT(0) /* fast strings */

/* MSRs with a fixed value, for guests that have them. Writing this value is allowed; writing
 * another one is #GP. */
static const struct {
    uint32_t msr;
    uint64_t value;
} fixed_msrs[] = {
    {MSR_PLATFORM_ID, 0},  {MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCKED},
    {MSR_BIOS_SIGN_ID, 0}, {MSR_MISC_ENABLE, MISC_ENABLE_GUEST},
    {MSR_DEBUGCTL, 0},     {MSR_XSS, 0}, /* no supervisor component is offered */
};

/* Reads of IA32_EFER do not exit; writes do, because the value has to be checked. */
static void pass_msr(struct vcpu *vcpu, uint32_t msr)
{
    if (msr == MSR_EFER)
        vmx_pass_msr_reads(&vcpu->vmx, msr);
    else
        vmx_pass_msr(&vcpu->vmx, msr);
}

void msr_setup(struct vcpu *vcpu)
{
    for (unsigned i = 0; i < feature_count; i++) {
        const struct feature *f = &feature_table[i];
        bool switched = f->state == STATE_VMCS || f->state == STATE_LIST;
        for (unsigned j = 0; switched && feature_offered(f) && j < FEATURE_MSRS && f->msrs[j]; j++)
            pass_msr(vcpu, f->msrs[j]);
    }
    vmwrite(VMCS_TSC_OFFSET, 0);
    legacy_msrs_init(&vcpu->legacy_msrs, vmx.maxphyaddr);
}

/* ---- The TSC --------------------------------------------------------------------------------- */

static bool has_tsc_adjust(void)
{
    return features_msr(MSR_TSC_ADJUST);
}

/* Converts the deadline to the host's TSC, which the APIC's timer counts. A deadline that has
 * passed becomes the present time. */
static void set_tsc_deadline(struct vcpu *vcpu, uint64_t deadline)
{
    uint64_t host = rdtsc(), now = host + vcpu->tsc_offset;
    uint64_t left = deadline > now ? deadline - now : 0;
    if (left > ~host)
        left = ~host;
    lapic_set_tsc_deadline(&vcpu->lapic, deadline ? host + left : 0);
}

static uint64_t tsc_deadline(struct vcpu *vcpu)
{
    uint64_t host = lapic_tsc_deadline(&vcpu->lapic);
    return host ? host + vcpu->tsc_offset : 0;
}

/* Moves the guest's TSC and IA32_TSC_ADJUST by the same amount: a write to either one changes both
 * (SDM 3, 18.17.3). */
static void move_tsc(struct vcpu *vcpu, uint64_t by)
{
    uint64_t until = tsc_deadline(vcpu);
    vcpu->tsc_offset += by;
    vcpu->tsc_adjust += by;
    vmwrite(VMCS_TSC_OFFSET, vcpu->tsc_offset);
    if (until)
        set_tsc_deadline(vcpu, until);
}

static uint64_t apic_base(const struct vcpu *vcpu)
{
    return vcpu->apic_page | (vcpu->index ? 0 : APIC_BASE_BSP) |
           field_put(vcpu->lapic.mode, APIC_BASE_MODE);
}

/* The mode and, in some VMs, the page can be changed; the other bits are fixed. */
static bool set_apic_base(struct vcpu *vcpu, uint64_t value)
{
    const uint64_t page = value & APIC_BASE_PAGE;
    unsigned mode = (unsigned)field_get(value, APIC_BASE_MODE);
    if ((value ^ apic_base(vcpu)) & ~(APIC_BASE_MODE | APIC_BASE_PAGE) || page >> vmx.maxphyaddr ||
        !lapic_mode_is_legal(&vcpu->lapic, mode) || !apic_page_move(vcpu, page) ||
        !lapic_set_mode(&vcpu->lapic, mode))
        return false;
    apicv_follow(vcpu);
    cpuid_update(vcpu);
    return true;
}

static bool fixed_value(uint32_t msr, uint64_t *value)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fixed_msrs); i++) {
        if (fixed_msrs[i].msr == msr && features_msr(msr)) {
            *value = fixed_msrs[i].value;
            return true;
        }
    }
    return false;
}

static COLD void msr_refuse_read(struct vcpu *vcpu, uint32_t msr)
{
    access_refuse(vcpu, "RDMSR of MSR %#x", msr);
}

/* An MSR that exists refuses some values. */
static COLD void msr_refuse_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    if (msr == MSR_APIC_BASE && (value ^ apic_base(vcpu)) & APIC_BASE_PAGE)
        access_refuse(vcpu, "WRMSR of %#lx to MSR %#x, whose page %s,", value, msr,
                      vcpu->vm->words.legacy ? "cannot be there" : "moves only with legacy");
    else
        access_refuse(vcpu, "WRMSR of %#lx to MSR %#x", value, msr);
}

static void finish_rdmsr(struct vcpu *vcpu, uint64_t value)
{
    vcpu->vmx.regs.gpr[GPR_RAX] = (uint32_t)value;
    vcpu->vmx.regs.gpr[GPR_RDX] = value >> 32;
    vmx_skip(&vcpu->vmx, REASON_RDMSR);
}

/* The MSRs that are read often. */
static ALWAYS_INLINE bool msr_get_quickly(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    if (msr == MSR_TSC)
        *value = rdtsc() + vcpu->tsc_offset;
    else if (msr == MSR_TSC_ADJUST && has_tsc_adjust())
        *value = vcpu->tsc_adjust;
    else if (msr == MSR_APIC_BASE)
        *value = apic_base(vcpu);
    else if (msr == MSR_TSC_DEADLINE)
        *value = tsc_deadline(vcpu);
    else
        return false;
    return true;
}

bool msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    return msr_get_quickly(vcpu, msr, value) || lapic_msr_read(&vcpu->lapic, msr, value) ||
           (vcpu->vm->words.legacy && legacy_msr_read(&vcpu->legacy_msrs, msr, value)) ||
           fixed_value(msr, value);
}

static ALWAYS_INLINE bool msr_set(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    uint64_t fixed;
    if (msr == MSR_TSC_DEADLINE)
        set_tsc_deadline(vcpu, value);
    else if (msr == MSR_TSC)
        move_tsc(vcpu, value - rdtsc() - vcpu->tsc_offset);
    else if (msr == MSR_TSC_ADJUST && has_tsc_adjust())
        move_tsc(vcpu, value - vcpu->tsc_adjust);
    else
        return lapic_msr_write(&vcpu->lapic, msr, value) ||
               (msr == MSR_APIC_BASE && set_apic_base(vcpu, value)) ||
               (msr == MSR_EFER && vcpu_set_efer(vcpu, value)) ||
               (vcpu->vm->words.legacy &&
                legacy_msr_write(&vcpu->legacy_msrs, vmx.maxphyaddr, msr, value)) ||
               (fixed_value(msr, &fixed) && value == fixed);
    return true;
}

bool msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    return msr_set(vcpu, msr, value);
}

/* ---- The exits ------------------------------------------------------------------------------- */

static NOINLINE void exit_rdmsr_other(struct vcpu *vcpu, uint32_t msr)
{
    uint64_t value;
    if (msr_read(vcpu, msr, &value))
        finish_rdmsr(vcpu, value);
    else
        msr_refuse_read(vcpu, msr);
}

void exit_rdmsr(struct vcpu *vcpu)
{
    uint32_t msr = (uint32_t)vcpu->vmx.regs.gpr[GPR_RCX];
    uint64_t value;
    if (msr_get_quickly(vcpu, msr, &value))
        finish_rdmsr(vcpu, value);
    else
        exit_rdmsr_other(vcpu, msr);
}

void exit_wrmsr(struct vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    uint32_t msr = (uint32_t)gpr[GPR_RCX];
    uint64_t value = gpr[GPR_RDX] << 32 | (uint32_t)gpr[GPR_RAX];
    if (likely(msr_set(vcpu, msr, value)))
        vmx_skip(&vcpu->vmx, REASON_WRMSR);
    else
        msr_refuse_write(vcpu, msr, value);
}
