/* SPDX-License-Identifier: MIT */
#include "vm/debug_rules.h"

#include "arch/x86/reg_bits.h"
#include "vmx/event.h"

/* The qualification of MOV DR (SDM 3, table 28-4). */
#define DR_NUMBER BITS(2, 0)
#define DR_FROM   BIT(4)
#define DR_GPR    BITS(11, 8)

#define DR7_ONES     BIT(10)
#define DR7_WRITABLE (BITS(31, 16) | DR7_GD | BITS(9, 0))

static uint64_t debug_reg_read(struct cpu_regs *cpu, const struct debug_file *file, unsigned number)
{
    if (number < 4)
        return file->address[number];
    return number & 1 ? cpu_reg(cpu, REG_DR7) : file->dr6; /* DR4 and DR5 are DR6 and DR7 */
}

/* Returns false if the write is #GP: bits 63:32 of DR6 and DR7 are reserved. */
static bool debug_reg_write(struct cpu_regs *cpu, struct debug_file *file, unsigned number,
                            uint64_t value)
{
    if (number < 4) {
        file->address[number] = value;
        return true;
    }
    if (value >> 32)
        return false;
    if (number & 1)
        cpu_set_reg(cpu, REG_DR7, (value & DR7_WRITABLE) | DR7_ONES);
    else
        file->dr6 = value; /* the CPU corrects fixed bits when DR6 is loaded */
    return true;
}

static bool in_64_bit_code(struct cpu_regs *cpu)
{
    return cpu_reg(cpu, REG_EFER) & EFER_LMA && cpu_reg(cpu, REG_SEG_AR + SEG_CS) & SEG_AR_L;
}

int debug_mov(struct cpu_regs *cpu, struct debug_file *file, uint64_t qualification)
{
    unsigned number = (unsigned)field_get(qualification, DR_NUMBER);
    unsigned gpr = (unsigned)field_get(qualification, DR_GPR);
    uint64_t mask = in_64_bit_code(cpu) ? ~0ull : 0xffffffff, dr7 = cpu_reg(cpu, REG_DR7);

    if ((number == 4 || number == 5) && cpu_reg(cpu, REG_CR4) & CR4_DE)
        return VECTOR_UD;
    if (cpu_cpl(cpu))
        return VECTOR_GP;
    if (dr7 & DR7_GD) {
        file->dr6 |= DR6_BD;
        cpu_set_reg(cpu, REG_DR7, dr7 & ~DR7_GD);
        return VECTOR_DB;
    }
    if (qualification & DR_FROM)
        cpu_set_gpr(cpu, gpr, debug_reg_read(cpu, file, number) & mask);
    else if (!debug_reg_write(cpu, file, number, cpu_gpr(cpu, gpr) & mask))
        return VECTOR_GP;
    return DEBUG_DONE;
}
