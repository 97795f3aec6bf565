/* SPDX-License-Identifier: MIT */
#include "launch/boot_state.h"

#include "tdx/td.h"
#include "vm/exits.h"
#include "vm/vcpu.h"
#include "vmx/init_state.h"
#include "vmx/vmcs.h"

#define AR_CODE32 (0xbu | SEG_AR_S | SEG_AR_P | SEG_AR_DB | SEG_AR_G)
#define AR_CODE64 (0xbu | SEG_AR_S | SEG_AR_P | SEG_AR_L | SEG_AR_G)
#define AR_DATA32 (0x3u | SEG_AR_S | SEG_AR_P | SEG_AR_DB | SEG_AR_G)
#define PAT_RESET 0x0007040600070406ull

/* The selectors. For 32-bit code there is no GDT, so CODE_32 and DATA_32 are arbitrary, as
 * multiboot permits. Linux' 64-bit entry point requires CODE_64 and DATA_64, and a GDT that has
 * both. */
#define CODE_32     0x08u
#define DATA_32     0x10u
#define CODE_64     0x10u
#define DATA_64     0x18u
#define GDT_64_SIZE 0x20u

static void set_boot_reg(struct vcpu *vcpu, enum cpu_reg reg, uint64_t value)
{
    cpu_set_reg(&vcpu->vmx.regs, reg, value);
}

static void set_segments(struct vcpu *vcpu, bool long_mode)
{
    static const uint16_t selectors[] = {VMCS_GUEST_ES_SELECTOR, VMCS_GUEST_CS_SELECTOR,
                                         VMCS_GUEST_SS_SELECTOR, VMCS_GUEST_DS_SELECTOR,
                                         VMCS_GUEST_FS_SELECTOR, VMCS_GUEST_GS_SELECTOR};
    const uint32_t code = long_mode ? CODE_64 : CODE_32, data = long_mode ? DATA_64 : DATA_32;
    const uint32_t code_rights = long_mode ? AR_CODE64 : AR_CODE32;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        vmwrite(selectors[i], i == SEG_CS ? code : data);
        set_boot_reg(vcpu, REG_SEG_BASE + i, 0);
        set_boot_reg(vcpu, REG_SEG_LIMIT + i, 0xffffffff);
        set_boot_reg(vcpu, REG_SEG_AR + i, i == SEG_CS ? code_rights : AR_DATA32);
    }
}

static void set_fields(void)
{
    static const uint16_t zeros[] = {
        VMCS_GUEST_LDTR_SELECTOR,  VMCS_GUEST_LDTR_BASE,     VMCS_GUEST_LDTR_LIMIT,
        VMCS_GUEST_TR_SELECTOR,    VMCS_GUEST_TR_BASE,       VMCS_GUEST_GDTR_BASE,
        VMCS_GUEST_GDTR_LIMIT,     VMCS_GUEST_IDTR_BASE,     VMCS_GUEST_IDTR_LIMIT,
        VMCS_GUEST_DEBUGCTL,       VMCS_GUEST_SYSENTER_CS,   VMCS_GUEST_SYSENTER_ESP,
        VMCS_GUEST_SYSENTER_EIP,   VMCS_GUEST_PENDING_DEBUG, VMCS_GUEST_INTERRUPTIBILITY,
        VMCS_GUEST_ACTIVITY_STATE, VMCS_GUEST_RSP,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(zeros); i++)
        vmwrite(zeros[i], 0);
    vmwrite(VMCS_GUEST_LDTR_ACCESS_RIGHTS, SEG_AR_UNUSABLE);
    vmwrite(VMCS_GUEST_TR_ACCESS_RIGHTS, AR_TSS32);
    vmwrite(VMCS_GUEST_TR_LIMIT, LIMIT_64K);
    vmwrite(VMCS_GUEST_DR7, DR7_RESET);
    vmwrite(VMCS_GUEST_PAT, PAT_RESET);
}

/* Sets the state that Linux' 64-bit boot protocol requires: paging with identity-mapped memory, a
 * GDT, and the address of the zero page in RSI. */
static void enter_long_mode(struct vcpu *vcpu, const struct guest_start *start)
{
    vmwrite(VMCS_GUEST_GDTR_BASE, start->gdt);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, GDT_64_SIZE - 1);
    set_boot_reg(vcpu, REG_CR0, CR0_PG | CR0_PE | CR0_ET);
    set_boot_reg(vcpu, REG_CR3, start->tables);
    set_boot_reg(vcpu, REG_CR4, CR4_PAE);
    set_boot_reg(vcpu, REG_EFER, EFER_LME | EFER_LMA);
    vcpu->vmx.regs.gpr[GPR_RSI] = start->info;
}

#define TD_RESET_RIP 0xfffffff0

/* Sets the state in which the TDX module starts every vCPU of a TD (base architecture
 * specification, "VCPU Initial State"). */
static void enter_td(struct vcpu *vcpu, const struct guest_start *start)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    set_boot_reg(vcpu, REG_CR0, CR0_PE | CR0_ET | CR0_NE);
    set_boot_reg(vcpu, REG_CR4, CR4_MCE);
    set_boot_reg(vcpu, REG_EFER, EFER_SCE | EFER_LME | EFER_NXE);
    set_boot_reg(vcpu, REG_RIP, TD_RESET_RIP);
    gpr[GPR_RAX] = 0;
    gpr[GPR_RBX] = TD_GPA_WIDTH;
    gpr[GPR_RCX] = gpr[GPR_R8] = start->info;
    gpr[GPR_RDX] = cpuid_signature();
    gpr[GPR_RSI] = vcpu->index;
}

void boot_state_set(struct vcpu *vcpu, const struct guest_start *start)
{
    const bool long_mode = start->long_mode && !vcpu->index;
    set_segments(vcpu, long_mode);
    set_fields();
    /* vCPU 0 starts as firmware and boot loader leave a CPU, with caching enabled. The others start
     * as after a power-up, with CD and NW set: the INIT that they receive preserves both bits. */
    set_boot_reg(vcpu, REG_CR0, vcpu->index ? CR0_ET | CR0_CD | CR0_NW : CR0_PE | CR0_ET);
    set_boot_reg(vcpu, REG_CR3, 0);
    set_boot_reg(vcpu, REG_CR4, 0);
    set_boot_reg(vcpu, REG_EFER, 0);
    for (unsigned i = 0; i < 4; i++)
        set_boot_reg(vcpu, REG_PDPTE0 + i, 0);
    set_boot_reg(vcpu, REG_RFLAGS, RFLAGS_FIXED);
    set_boot_reg(vcpu, REG_RIP, start->entry);
    vcpu->vmx.regs.gpr[GPR_RAX] = start->magic;
    if (start->td)
        enter_td(vcpu, start);
    else if (long_mode)
        enter_long_mode(vcpu, start);
    else
        vcpu->vmx.regs.gpr[GPR_RBX] = start->info;
}
