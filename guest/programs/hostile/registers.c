/* SPDX-License-Identifier: MIT */
/* Atoms of the program `hostile` about registers: CR, DR, MSRs, XSAVE's state, and CPUID. */
#include "guest/programs/hostile/hostile.h"

#define CR0_AM            0x40000u
#define EFLAGS_AC         0x40000u
#define DR7_WRITES_TO_DR0 0xd0403u /* of 4 bytes */

void atom_cr(struct hostile_cpu *cpu, struct code *code)
{
    static const struct {
        uint8_t number;
        uint64_t initial;
    } crs[] = {{0, 0x80010033}, {0, 0x33},     {0, 0x10},     {4, 0x20}, {4, 0x6b0},
               {4, 0x406a0},    {4, 0x3406a0}, {3, 0x100000}, {8, 0x5},  {2, 0}};
    unsigned i = (unsigned)pick(cpu, ARRAY_SIZE(crs));
    unsigned number = crs[i].number;
    uint64_t value = crs[i].initial;

    for (uint64_t n = pick(cpu, 4); n; n--)
        value ^= BIT(pick(cpu, one_in(cpu, 8) ? 64 : 32));
    if (number == 3)
        value = one_in(cpu, 30) ? any_gpa(cpu) : (uint64_t)rt_pml4 | pick(cpu, 4) << 3;
    switch (pick(cpu, 10)) {
    case 0:
        EMIT(code, 0x0f, 0x06); /* CLTS */
        return;
    case 1:
        any_in(cpu, code, RAX);
        EMIT(code, 0x0f, 0x01, MODRM(6, RAX)); /* LMSW */
        return;
    case 2:
        EMIT(code, 0x0f, 0x01, MODRM(4, RCX)); /* SMSW */
        return;
    }
    emit_mov(code, RAX, value);
    if (number == 8 && code->bits == 64)
        EMIT(code, 0x44);
    EMIT(code, 0x0f, one_in(cpu, 5) ? 0x20 : 0x22, MODRM(number & 7, RAX));
}

void atom_dr(struct hostile_cpu *cpu, struct code *code)
{
    unsigned number = (unsigned)pick(cpu, 8);

    if (number == 7)
        emit_mov(code, RAX, one_in(cpu, 4) ? any_value(cpu) : 0x400 | (rnd(cpu) & 0xffff23ff));
    else if (number < 4)
        emit_mov(code, RAX, one_in(cpu, 3) ? (uint64_t)code->at : any_address(cpu));
    else
        any_in(cpu, code, RAX);
    EMIT(code, 0x0f, one_in(cpu, 5) ? 0x21 : 0x23, MODRM(number, RAX));
}

/* An exception that occurs during its own delivery: by a data breakpoint on the stack of all
 * handlers, or, if a handler runs at CPL 3 on the current stack, by a misaligned stack. */
void atom_endless(struct hostile_cpu *cpu, struct code *code)
{
    if (cpu->cs == SEL_USER_CODE32 && cpu->cr0) {
        legacy_idt[17] = gate(cpu->code, 0xeeull << 40 | (uint64_t)SEL_USER_CODE32 << 16);
        cpu->cr0 |= CR0_AM;
        cpu->rflags |= EFLAGS_AC;
        EMIT(code, 0x83, MODRM(0, RSP), (uint8_t)(1 + pick(cpu, 3)), 0x50); /* ADD to ESP, PUSH */
        return;
    }
    emit_mov(code, RAX, trap_stack(cpu->number) + 4096 - 8 * (1 + pick(cpu, 6)));
    EMIT(code, 0x0f, 0x23, MODRM(0, RAX));
    emit_mov(code, RAX, DR7_WRITES_TO_DR0);
    EMIT(code, 0x0f, 0x23, MODRM(7, RAX));
}

static uint64_t any_msr(struct hostile_cpu *cpu)
{
    static const uint32_t msrs[] = {
        0x0,        0x1,        0x10,       0x17,       0x1b,       0x2a,       0x33,
        0x34,       0x35,       0x3a,       0x3b,       0x48,       0x49,       0x79,
        0x7a,       0x8b,       0x9b,       0x9e,       0xc1,       0xce,       0xcf,
        0xe1,       0xe7,       0xe8,       0xfe,       0x10a,      0x10b,      0x122,
        0x123,      0x140,      0x174,      0x175,      0x176,      0x179,      0x17a,
        0x17b,      0x186,      0x198,      0x199,      0x19a,      0x19b,      0x19c,
        0x1a0,      0x1a4,      0x1ad,      0x1b0,      0x1c4,      0x1c5,      0x1c9,
        0x1d9,      0x1db,      0x1dc,      0x200,      0x201,      0x250,      0x258,
        0x268,      0x277,      0x280,      0x2ff,      0x309,      0x345,      0x38d,
        0x38f,      0x390,      0x3f1,      0x400,      0x401,      0x480,      0x481,
        0x48b,      0x48c,      0x491,      0x560,      0x570,      0x600,      0x606,
        0x680,      0x6a0,      0x6a2,      0x6a4,      0x6a7,      0x6a8,      0x6e0,
        0x6e1,      0x770,      0x800,      0x802,      0x808,      0x80b,      0x80d,
        0x80f,      0x828,      0x82f,      0x830,      0x832,      0x838,      0x839,
        0x83e,      0x83f,      0x840,      0xc80,      0xc81,      0xc8d,      0xc8f,
        0xc90,      0xd90,      0xda0,      0xdb0,      0x1fff,     0x2000,     0x40000000,
        0x40000001, 0x4b564d00, 0xbfffffff, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083,
        0xc0000084, 0xc0000085, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0000104,
        0xc0001fff, 0xc0002000, 0xc0010000, 0xc0010010, 0xc0010015, 0xc001001f, 0xc0011029,
        0xffffffff,
    };
    return one_in(cpu, 6) ? pick(cpu, 0x2000) : PICK(cpu, msrs);
}

void atom_msr(struct hostile_cpu *cpu, struct code *code)
{
    emit_mov(code, RCX, any_msr(cpu));
    any_in(cpu, code, RAX);
    emit_mov(code, RDX, one_in(cpu, 2) ? 0 : any_value(cpu));
    EMIT(code, 0x0f, one_in(cpu, 3) ? 0x32 : 0x30);
}

void atom_cpuid(struct hostile_cpu *cpu, struct code *code)
{
    static const uint32_t bases[] = {0, 0, 0x40000000, 0x80000000, 0xc0000000, 0xffffffff};

    emit_mov(code, RAX, PICK(cpu, bases) + pick(cpu, 34));
    emit_mov(code, RCX, one_in(cpu, 4) ? any_value(cpu) : pick(cpu, 32));
    EMIT(code, 0x0f, 0xa2);
}

void atom_xstate(struct hostile_cpu *cpu, struct code *code)
{
    static const uint64_t sets[] = {0,     1,     2,       3,       5,      6,    7,
                                    0xb,   0x1b,  0x27,    0x67,    0xe7,   0x87, 0x47,
                                    0x207, 0x2e7, 0x20007, 0x60007, 0x602e7};

    if (code->bits == 64 && one_in(cpu, 2)) { /* sets OSXSAVE and OSFXSR first */
        emit_mov(code, RAX, 0x40620);
        EMIT(code, 0x0f, 0x22, MODRM(4, RAX));
    }
    emit_mov(code, RCX, one_in(cpu, 8) ? any_value(cpu) : pick(cpu, 2));
    emit_mov(code, RAX, one_in(cpu, 6) ? any_value(cpu) : PICK(cpu, sets));
    emit_mov(code, RDX, one_in(cpu, 3) ? any_value(cpu) : 0);
    if (one_in(cpu, 2)) {
        EMIT(code, 0x0f, 0x01, one_in(cpu, 4) ? 0xd0 : 0xd1);
        return;
    }
    point_at(cpu, code, RSI);
    if (code->bits == 64 && one_in(cpu, 2))
        EMIT(code, 0x48);
    EMIT(code, 0x0f, one_in(cpu, 3) ? 0xc7 : 0xae, (uint8_t)(pick(cpu, 8) << 3 | IN_16(code, RSI)));
}
