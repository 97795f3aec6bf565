/* SPDX-License-Identifier: MIT */
/* The handler of exceptions, NMIs and interrupts in the hypervisor; see the header. */
#include "arch/x86/exceptions.h"

#include "arch/x86/backtrace.h"
#include "arch/x86/cpu.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/guarded.h"
#include "arch/x86/kick.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/power.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"

#define VECTOR_NMI      2
#define VECTOR_DF       8
#define VECTOR_PF       14
#define VECTOR_MC       18
#define FIRST_INTERRUPT 32
#define PF_WRITE        0x2
#define PF_FETCH        0x10

extern const struct guard extable_start[], extable_end[];
extern const char text_start[], rodata_start[], data_start[], image_end[];

/* Describes what is mapped at a faulting address. */
static void describe_address(uint64_t address, char *text, size_t size)
{
    for (unsigned i = 0; i < cpu_count * STACK_COUNT; i++) {
        const struct cpu *cpu = &cpus[i / STACK_COUNT];
        unsigned stack = i % STACK_COUNT;
        if (address - (uint64_t)cpu->stacks[stack].guard < STACK_GUARD) {
            snprintf(text, size, "the guard page of the %s stack: stack overflow",
                     stack_names[stack]);
            return;
        }
    }
    if (address < PAGE_SIZE)
        snprintf(text, size, "a null pointer, offset %#lx", address);
    else if (address < BIT(47))
        snprintf(text, size, "low memory, where nothing is mapped");
    else if (address < DIRECT_MAP)
        snprintf(text, size, "a non-canonical address");
    else if (address - DIRECT_MAP < BIT(46) && page_is_hidden(HPA(address - DIRECT_MAP)))
        snprintf(text, size,
                 "physical %#lx: the hypervisor touched a TD's private page, which only the secure "
                 "side may do, through its windows",
                 address - DIRECT_MAP);
    else if (address - DIRECT_MAP < BIT(46))
        snprintf(text, size, "the direct map of physical %#lx, which is not mapped or read-only",
                 address - DIRECT_MAP);
    else if (address >= (uint64_t)text_start && address < (uint64_t)rodata_start)
        snprintf(text, size, "the hypervisor's code, which is read-only");
    else if (address >= (uint64_t)rodata_start && address < (uint64_t)data_start)
        snprintf(text, size, "the hypervisor's constants, which are read-only and not executable");
    else if (address >= (uint64_t)data_start && address < (uint64_t)image_end)
        snprintf(text, size, "the hypervisor's data, which is not executable");
    else
        snprintf(text, size, "an unmapped part of the hypervisor's half");
}

static void print_frame(const struct exception_frame *f)
{
    log_info("  rip %016lx  rsp %016lx  rflags %08lx  cs %04lx", f->rip, f->rsp, f->rflags, f->cs);
    log_info("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
    log_info("  rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx", f->rsi, f->rdi, f->rbp, f->r8);
    log_info("  r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx", f->r9, f->r10, f->r11, f->r12);
    log_info("  r13 %016lx  r14 %016lx  r15 %016lx  cr2 %016lx", f->r13, f->r14, f->r15,
             read_cr2());
    log_info("  cr0 %016lx  cr3 %016lx  cr4 %016lx", read_cr0(), read_cr3(), read_cr4());
}

/* Says what a machine check is about; the other CPUs that get it do not return. */
static void report_machine_check(const struct exception_frame *frame)
{
    char where[64];
    snprintf(where, sizeof(where), "in the hypervisor at RIP %#lx", frame->rip);
    machine_check_report(where);
}

static void report_exception(const struct exception_frame *frame)
{
    log_divert(NULL); /* the exception may have happened in the function that keeps lines */
    log_error("%s in the hypervisor on CPU %u (vector %lu, error code %#lx)",
              exception_name((unsigned)frame->vector), this_cpu(), frame->vector,
              frame->error_code);
    if (frame->vector != VECTOR_PF && frame->vector != VECTOR_DF)
        return;
    char where[160];
    describe_address(read_cr2(), where, sizeof(where));
    log_info("  %s %016lx: %s",
             frame->vector == VECTOR_DF     ? "the last page fault was at"
             : frame->error_code & PF_FETCH ? "fetch of"
             : frame->error_code & PF_WRITE ? "write of"
                                            : "read of",
             read_cr2(), where);
}

void exception(struct exception_frame *frame)
{
    if (frame->vector == VECTOR_NMI) { /* an NMI may arrive anywhere, also inside the log */
        if (!kick_received(frame))
            log_warn("unexpected NMI at %#lx", frame->rip);
        return;
    }
    uint64_t resume = guard_takes((unsigned)frame->vector)
                          ? guard_find(extable_start, extable_end, frame->rip)
                          : 0;
    if (resume) {
        frame->rip = resume;
        return;
    }

    if (frame->vector >= FIRST_INTERRUPT) {
        log_warn("unexpected interrupt %lu; ignored", frame->vector);
        return;
    }
    if (frame->vector == VECTOR_MC)
        report_machine_check(frame);
    else
        report_exception(frame);
    print_frame(frame);
    backtrace(frame->rip, frame->rbp);
    machine_exit(EXIT_PANIC);
}
