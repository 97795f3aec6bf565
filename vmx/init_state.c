/* SPDX-License-Identifier: MIT */
/* Sets a vCPU's registers to their values after INIT; see the header. Pure. */
#include "vmx/init_state.h"

#include "arch/x86/reg_bits.h"
#include "lib/string.h"
#include "vmx/fields.h"

#define AR_CODE16 (0xbu | SEG_AR_S | SEG_AR_P)
#define AR_DATA16 (0x3u | SEG_AR_S | SEG_AR_P)
#define AR_LDT    (0x2u | SEG_AR_P)

/* The fields that do not depend on the start-up IPI, except those of the six segment registers,
 * whose encodings are consecutive in the order of enum segment. */
static const struct {
    uint32_t field;
    uint32_t value;
} fields[] = {
    {VMCS_GUEST_LDTR_SELECTOR, 0},
    {VMCS_GUEST_LDTR_BASE, 0},
    {VMCS_GUEST_LDTR_LIMIT, LIMIT_64K},
    {VMCS_GUEST_LDTR_ACCESS_RIGHTS, AR_LDT},
    {VMCS_GUEST_TR_SELECTOR, 0},
    {VMCS_GUEST_TR_BASE, 0},
    {VMCS_GUEST_TR_LIMIT, LIMIT_64K},
    {VMCS_GUEST_TR_ACCESS_RIGHTS, AR_TSS32},
    {VMCS_GUEST_GDTR_BASE, 0},
    {VMCS_GUEST_GDTR_LIMIT, LIMIT_64K},
    {VMCS_GUEST_IDTR_BASE, 0},
    {VMCS_GUEST_IDTR_LIMIT, LIMIT_64K},
    {VMCS_GUEST_RIP, 0},
    {VMCS_GUEST_RSP, 0},
    {VMCS_GUEST_RFLAGS, RFLAGS_FIXED},
    {VMCS_GUEST_DR7, DR7_RESET},
    {VMCS_GUEST_INTERRUPTIBILITY, 0},
    {VMCS_GUEST_PENDING_DEBUG, 0},
    {VMCS_GUEST_ACTIVITY_STATE, 0},
};

void init_state(struct cpu_regs *cpu, struct extra_state *extra, uint32_t signature, uint8_t vector,
                vmcs_writer write)
{
    uint64_t cr0 = cpu_reg(cpu, REG_CR0);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        write(fields[i].field, fields[i].value);
    for (uint32_t i = 0; i < SEG_COUNT; i++) {
        bool code = i == SEG_CS;
        write(VMCS_GUEST_ES_SELECTOR + 2 * i, code ? (uint64_t)vector << 8 : 0);
        write(VMCS_GUEST_ES_BASE + 2 * i, code ? (uint64_t)vector << 12 : 0);
        write(VMCS_GUEST_ES_LIMIT + 2 * i, LIMIT_64K);
        write(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * i, code ? AR_CODE16 : AR_DATA16);
    }
    memset(cpu->gpr, 0, sizeof(cpu->gpr));
    cpu->gpr[GPR_RDX] = signature;
    cpu->known = 0;
    cpu_set_reg(cpu, REG_CR0, (cr0 & (CR0_CD | CR0_NW)) | CR0_ET);
    cpu_set_reg(cpu, REG_CR3, 0);
    cpu_set_reg(cpu, REG_CR4, 0);
    cpu_set_reg(cpu, REG_EFER, 0);
    extra->cr2 = extra->dr0 = extra->dr1 = extra->dr2 = extra->dr3 = 0;
    extra->dr6 = DR6_RESET;
}
