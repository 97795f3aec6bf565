/* SPDX-License-Identifier: MIT */
/* Implements rt/sides.h. */
#include "guest/programs/rt/sides.h"

uint64_t shared_bit(void)
{
    uint32_t bit = cpuid(ABI_CPUID_STOLEN).eax;
    return bit ? BIT(bit) : 0;
}

uint64_t code_bit(void)
{
    uint32_t bit = cpuid(ABI_CPUID_STOLEN).ebx;
    return bit ? BIT(bit) : 0;
}

void ghci(struct ghci_call *call)
{
    register uint64_t r10 __asm__("r10") = call->r10;
    register uint64_t r11 __asm__("r11") = call->r11;
    register uint64_t r12 __asm__("r12") = call->r12;
    register uint64_t r13 __asm__("r13") = call->r13;
    register uint64_t r14 __asm__("r14") = call->r14;
    register uint64_t r15 __asm__("r15") = call->r15;
    __asm__ volatile("vmcall"
                     : "+a"(call->rax), "+c"(call->rcx), "+r"(r10), "+r"(r11), "+r"(r12), "+r"(r13),
                       "+r"(r14), "+r"(r15)
                     :
                     : "memory");
    call->r10 = r10;
    call->r11 = r11;
    call->r12 = r12;
    call->r13 = r13;
    call->r14 = r14;
    call->r15 = r15;
}

uint64_t map_gpa(uint64_t gpa, uint64_t size)
{
    uint64_t end = gpa + size;
    for (;;) {
        struct ghci_call call = {.rcx = GHCI_ALL, .r11 = GHCI_MAP, .r12 = gpa, .r13 = end - gpa};
        ghci(&call);
        if (call.r10 != GHCI_RETRY)
            return call.r10;
        gpa = call.r11;
    }
}

uint64_t mmio_request(uint64_t gpa, unsigned size, bool write, uint64_t *data)
{
    struct ghci_call call = {.rcx = GHCI_ALL,
                             .r11 = GHCI_MMIO,
                             .r12 = size,
                             .r13 = write,
                             .r14 = gpa,
                             .r15 = write ? *data : 0};
    ghci(&call);
    if (!write)
        *data = call.r11;
    return call.r10;
}

__attribute__((noinline)) uint32_t load2(uint64_t address)
{
    uint32_t value;
    __asm__ volatile("movl (%%rdi), %%eax" : "=a"(value) : "D"(address) : "memory");
    return value;
}

__attribute__((noinline)) void store2(uint64_t address, uint32_t value)
{
    __asm__ volatile("movl %%eax, (%%rdi)" : : "a"(value), "D"(address) : "memory");
}

struct ve_info last_ve;
unsigned ve_count;

static void on_ve(struct frame *frame)
{
    last_ve = *VE_INFO;
    ve_count++;
    bool write = last_ve.qualification & BIT(1);
    uint64_t data = frame->rax;
    if (mmio_request(last_ve.physical_address, 4, write, &data))
        data = 0xbad;
    if (!write)
        frame->rax = (uint32_t)data;
    frame->rip += 2;
    VE_INFO->busy = 0;
}

void handle_ve(void)
{
    set_handler(VECTOR_VE, on_ve);
    VE_INFO->busy = 0;
}
