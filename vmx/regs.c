/* SPDX-License-Identifier: MIT */
/* The registers of arch/x86/regs.h on top of the VMCS: each is read at most once between exit and
 * entry. */
#include "arch/x86/cpu.h"
#include "lib/assert.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"

/* The field of each register; 0: the register is not simply a field. */
static const uint16_t fields[REG_COUNT] = {
    [REG_RIP] = VMCS_GUEST_RIP,
    [REG_RSP] = VMCS_GUEST_RSP,
    [REG_RFLAGS] = VMCS_GUEST_RFLAGS,
    [REG_CR3] = VMCS_GUEST_CR3,
    [REG_EFER] = VMCS_GUEST_EFER,
    [REG_PDPTE0] = VMCS_GUEST_PDPTE0,
    [REG_PDPTE1] = VMCS_GUEST_PDPTE1,
    [REG_PDPTE2] = VMCS_GUEST_PDPTE2,
    [REG_PDPTE3] = VMCS_GUEST_PDPTE3,
    [REG_DR7] = VMCS_GUEST_DR7,
    [REG_SEG_BASE + SEG_ES] = VMCS_GUEST_ES_BASE,
    [REG_SEG_BASE + SEG_CS] = VMCS_GUEST_CS_BASE,
    [REG_SEG_BASE + SEG_SS] = VMCS_GUEST_SS_BASE,
    [REG_SEG_BASE + SEG_DS] = VMCS_GUEST_DS_BASE,
    [REG_SEG_BASE + SEG_FS] = VMCS_GUEST_FS_BASE,
    [REG_SEG_BASE + SEG_GS] = VMCS_GUEST_GS_BASE,
    [REG_SEG_BASE + SEG_LDTR] = VMCS_GUEST_LDTR_BASE,
    [REG_SEG_BASE + SEG_TR] = VMCS_GUEST_TR_BASE,
    [REG_SEG_LIMIT + SEG_ES] = VMCS_GUEST_ES_LIMIT,
    [REG_SEG_LIMIT + SEG_CS] = VMCS_GUEST_CS_LIMIT,
    [REG_SEG_LIMIT + SEG_SS] = VMCS_GUEST_SS_LIMIT,
    [REG_SEG_LIMIT + SEG_DS] = VMCS_GUEST_DS_LIMIT,
    [REG_SEG_LIMIT + SEG_FS] = VMCS_GUEST_FS_LIMIT,
    [REG_SEG_LIMIT + SEG_GS] = VMCS_GUEST_GS_LIMIT,
    [REG_SEG_LIMIT + SEG_LDTR] = VMCS_GUEST_LDTR_LIMIT,
    [REG_SEG_LIMIT + SEG_TR] = VMCS_GUEST_TR_LIMIT,
    [REG_SEG_AR + SEG_ES] = VMCS_GUEST_ES_ACCESS_RIGHTS,
    [REG_SEG_AR + SEG_CS] = VMCS_GUEST_CS_ACCESS_RIGHTS,
    [REG_SEG_AR + SEG_SS] = VMCS_GUEST_SS_ACCESS_RIGHTS,
    [REG_SEG_AR + SEG_DS] = VMCS_GUEST_DS_ACCESS_RIGHTS,
    [REG_SEG_AR + SEG_FS] = VMCS_GUEST_FS_ACCESS_RIGHTS,
    [REG_SEG_AR + SEG_GS] = VMCS_GUEST_GS_ACCESS_RIGHTS,
    [REG_SEG_AR + SEG_LDTR] = VMCS_GUEST_LDTR_ACCESS_RIGHTS,
    [REG_SEG_AR + SEG_TR] = VMCS_GUEST_TR_ACCESS_RIGHTS,
    [REG_SEG_SELECTOR + SEG_ES] = VMCS_GUEST_ES_SELECTOR,
    [REG_SEG_SELECTOR + SEG_CS] = VMCS_GUEST_CS_SELECTOR,
    [REG_SEG_SELECTOR + SEG_SS] = VMCS_GUEST_SS_SELECTOR,
    [REG_SEG_SELECTOR + SEG_DS] = VMCS_GUEST_DS_SELECTOR,
    [REG_SEG_SELECTOR + SEG_FS] = VMCS_GUEST_FS_SELECTOR,
    [REG_SEG_SELECTOR + SEG_GS] = VMCS_GUEST_GS_SELECTOR,
    [REG_SEG_SELECTOR + SEG_LDTR] = VMCS_GUEST_LDTR_SELECTOR,
    [REG_SEG_SELECTOR + SEG_TR] = VMCS_GUEST_TR_SELECTOR,
    [REG_GDTR_BASE] = VMCS_GUEST_GDTR_BASE,
    [REG_IDTR_BASE] = VMCS_GUEST_IDTR_BASE,
    [REG_GDTR_LIMIT] = VMCS_GUEST_GDTR_LIMIT,
    [REG_IDTR_LIMIT] = VMCS_GUEST_IDTR_LIMIT,
};

/* A bit that the guest/host mask assigns to the hypervisor is read from the shadow, any other from
 * the register (SDM 3, 25.6.6). */
static uint64_t read_shadowed(uint32_t field, uint32_t mask_field, uint32_t shadow_field)
{
    uint64_t mask = vmread(mask_field);
    return (vmread(field) & ~mask) | (vmread(shadow_field) & mask);
}

/* PKRU is not in the VMCS; the guest's value stays loaded (decision D9). */
static uint64_t read_pkru(void)
{
    uint32_t pkru, zero;
    if (!(read_cr4() & CR4_PKE))
        return 0;
    __asm__ volatile("rdpkru" : "=a"(pkru), "=d"(zero) : "c"(0));
    return pkru;
}

static uint64_t read_composed(enum cpu_reg reg)
{
    if (reg == REG_CR0)
        return read_shadowed(VMCS_GUEST_CR0, VMCS_CR0_GUEST_HOST_MASK, VMCS_CR0_READ_SHADOW);
    if (reg == REG_CR4)
        return read_shadowed(VMCS_GUEST_CR4, VMCS_CR4_GUEST_HOST_MASK, VMCS_CR4_READ_SHADOW);
    return read_pkru();
}

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg)
{
    uint64_t value = likely(fields[reg]) ? vmread(fields[reg]) : read_composed(reg);
    cpu->known |= BIT(reg);
    return cpu->value[reg] = value;
}

void cpu_reg_load_usual(struct cpu_regs *cpu)
{
    cpu_know_usual(cpu, vmread_always(VMCS_GUEST_RIP), vmread_always(VMCS_GUEST_RFLAGS),
                   vmread_always(VMCS_GUEST_CR3), vmread_always(VMCS_GUEST_CS_ACCESS_RIGHTS));
}

void cpu_complete(struct cpu_regs *cpu, uint64_t next, uint64_t rflags)
{
    cpu->value[REG_RIP] = next;
    cpu->value[REG_RFLAGS] = rflags & ~RFLAGS_RF;
    cpu->known |= BIT(REG_RIP) | BIT(REG_RFLAGS);
    vmx_complete(next, rflags);
}

/* VM entry requires that EFER.LMA equals the control "IA-32e mode guest" (SDM 3, 27.3.1.1), so both
 * are written. */
static void write_efer(uint64_t value)
{
    uint64_t controls = vmread(VMCS_ENTRY_CONTROLS) & ~ENTRY_IA32E_GUEST;
    vmwrite(VMCS_ENTRY_CONTROLS, controls | (value & EFER_LMA ? ENTRY_IA32E_GUEST : 0));
    vmwrite(VMCS_GUEST_EFER, value);
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg reg, uint64_t value)
{
    cpu->value[reg] = value;
    cpu->known |= BIT(reg);
    _Static_assert(REG_RIP < REG_RFLAGS && REG_RSP < REG_RFLAGS,
                   "the registers that are set often come first");
    if (likely(reg <= REG_RFLAGS)) {
        vmwrite(fields[reg], value);
        return;
    }
    if (reg == REG_CR0 || reg == REG_CR4 || reg == REG_EFER)
        cpu->regime += REGIME_STEP;
    if (reg == REG_CR0) {
        vmwrite(VMCS_CR0_READ_SHADOW, value);
        vmwrite(VMCS_GUEST_CR0,
                (value | vmx_cr0_must_be_1(&vmx.msrs, true)) & vmx_cr0_may_be_1(&vmx.msrs));
    } else if (reg == REG_CR4) {
        vmwrite(VMCS_CR4_READ_SHADOW, value);
        vmwrite(VMCS_GUEST_CR4, vmx_cr4_in_use(&vmx.msrs, value));
    } else if (reg == REG_EFER) {
        write_efer(value);
    } else {
        BUG_ON(!fields[reg]); /* only the guest sets PKRU */
        vmwrite(fields[reg], value);
    }
}
