/* SPDX-License-Identifier: MIT */
/* Kicks, and idle CPUs that wait for them; see the header. */
#include "arch/x86/kick.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/guarded.h"
#include "arch/x86/this_cpu.h"
#include "arch/x86/tsc.h"
#include "lib/host_tlb.h"
#include "lib/spinlock.h"
#include "lib/trace.h"

static void (*on_kick)(void);
static uint64_t stopping; /* number + 1 of the CPU that stops the others, else 0 */

/* If an NMI arrives while RIP is between cpu_idle and cpu_idle_end, HLT has not begun to wait, and
 * kick_received() restarts the check. */
__asm__(".text\n"
        ".globl cpu_idle\n"
        "cpu_idle:\n"
        "    cmpq $0, (%rdi)\n"
        "    jne 1f\n"
        "    hlt\n"
        "cpu_idle_end:\n"
        "1:  ret\n");
extern const char cpu_idle_end[];

/* Leaves VMX operation, in which INIT is blocked: a reset that reaches the CPUs as INIT would stop
 * here (rule N130). */
static NORETURN void cpu_stop(void)
{
    (void)vmxoff_safe();
    __atomic_store_n(&cpus[this_cpu()].stopped, 1, __ATOMIC_RELEASE);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void kick_set_hook(void (*hook)(void))
{
    on_kick = hook;
}

/* Apart from cpu_kick(), which saves no registers for a call that is rarely made. */
static COLD void cpu_kick_traced(unsigned number)
{
    trace(kick, number);
    apic_send_nmi(cpus[number].apic_id);
}

void cpu_kick(unsigned number)
{
    struct cpu *cpu = &cpus[number];
    if (__atomic_exchange_n(&cpu->kicked, 1, __ATOMIC_SEQ_CST))
        return;
    if (unlikely(trace_wants(TRACE_BIT(kick))))
        cpu_kick_traced(number);
    else
        apic_send_nmi(cpu->apic_id);
}

bool kick_received(struct exception_frame *frame)
{
    if (!__atomic_exchange_n(&cpus[this_cpu()].kicked, 0, __ATOMIC_SEQ_CST))
        return false;
    if (__atomic_load_n(&stopping, __ATOMIC_RELAXED))
        cpu_stop();
    if (frame->rip >= (uint64_t)cpu_idle && frame->rip < (uint64_t)cpu_idle_end)
        frame->rip = (uint64_t)cpu_idle;
    if (unlikely(host_tlb_owes(this_cpu())))
        (void)host_tlb_pay(this_cpu());
    if (on_kick)
        on_kick();
    return true;
}

void cpu_give_work(unsigned number, void (*work)(void))
{
    __atomic_store_n(&cpus[number].work, work, __ATOMIC_SEQ_CST);
    cpu_kick(number);
}

bool cpu_wait_work(unsigned number, unsigned milliseconds)
{
    uint64_t end = rdtsc() + milliseconds * tsc_khz();
    while (__atomic_load_n(&cpus[number].work, __ATOMIC_ACQUIRE)) {
        if (rdtsc() > end)
            return false;
        cpu_relax();
    }
    return true;
}

void cpu_work_loop(void)
{
    struct cpu *cpu = &cpus[this_cpu()];
    for (;;) {
        cpu_idle(&cpu->work);
        void (*work)(void) = __atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE);
        if (!work)
            continue;
        work();
        __atomic_store_n(&cpu->work, NULL, __ATOMIC_RELEASE);
    }
}

void cpus_stop_others(void)
{
    uint64_t nobody = 0, self = this_cpu() + 1;
    if (!__atomic_compare_exchange_n(&stopping, &nobody, self, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST) &&
        nobody != self)
        cpu_stop();
    for (unsigned i = 0; i < cpu_count; i++)
        if (i != this_cpu())
            cpu_kick(i);
}

void cpus_wait_stopped(unsigned milliseconds)
{
    uint64_t start = rdtsc(), ticks = tsc_ticks(milliseconds);
    for (unsigned i = 0; i < cpu_count; i++)
        while (i != this_cpu() && !__atomic_load_n(&cpus[i].stopped, __ATOMIC_ACQUIRE) &&
               rdtsc() - start < ticks)
            cpu_relax();
}
