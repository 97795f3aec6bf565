/* SPDX-License-Identifier: MIT */
#include "guest/programs/rt/td.h"

#define CPUID_TDX  0x21
#define VMCALL_ALL 0xffccull /* RCX: every register but RAX, RCX, RSP and RBP */
#define IO_READ    0
#define IO_WRITE   1

bool rt_is_td;

void td_init(void)
{
    const struct cpuid r = cpuid(CPUID_TDX);
    rt_is_td = r.ebx == 0x65746e49 && r.edx == 0x5844546c && r.ecx == 0x20202020; /* IntelTDX */
}

uint64_t td_vmcall(struct td_registers *registers)
{
    registers->rax = TDCALL_VMCALL;
    registers->rcx = VMCALL_ALL;
    execute_tdcall(registers);
    return registers->r10;
}

void port_write(uint16_t port, uint8_t value)
{
    struct td_registers registers = {
        .r11 = TDVMCALL_IO, .r12 = 1, .r13 = IO_WRITE, .r14 = port, .r15 = value};
    if (rt_is_td)
        td_vmcall(&registers);
    else
        outb(port, value);
}

uint8_t port_read(uint16_t port)
{
    struct td_registers registers = {.r11 = TDVMCALL_IO, .r12 = 1, .r13 = IO_READ, .r14 = port};
    if (!rt_is_td)
        return inb(port);
    td_vmcall(&registers);
    return (uint8_t)registers.r11;
}
