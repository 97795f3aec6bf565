/* SPDX-License-Identifier: MIT */
#include "vm/pcpu.h"
#include "vm/vm.h"

#include "arch/x86/this_cpu.h"
#include "arch/x86/kick.h"
#include "arch/x86/mitigate.h"
#include "lib/log.h"
#include "lib/trace.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

#define START_MS 1000

static struct {
    struct vcpu *vcpu;
    bool work; /* accessed only by the pCPU itself */
    struct pcpu_counts counts;
} __attribute__((aligned(64))) pcpus[CPUS_MAX];
static uint64_t running = BIT(0);

uint64_t pcpus_running(void)
{
    return __atomic_load_n(&running, __ATOMIC_RELAXED);
}

unsigned pcpus_count(void)
{
    unsigned count = 0;
    for (uint64_t left = pcpus_running(); left; left &= left - 1)
        count++;
    return count;
}

bool pcpus_have_vcpu(void)
{
    bool any = false;
    for (unsigned i = 0; i < cpu_count; i++)
        any |= __atomic_load_n(&pcpus[i].vcpu, __ATOMIC_RELAXED) != NULL;
    return any;
}

struct pcpu_counts pcpus_counts(void)
{
    struct pcpu_counts sum = {0};
    for (unsigned i = 0; i < cpu_count; i++) {
        sum.turns += pcpus[i].counts.turns;
        sum.migrations += pcpus[i].counts.migrations;
        sum.halts += pcpus[i].counts.halts;
        sum.kicks += pcpus[i].counts.kicks;
    }
    return sum;
}

void pcpu_takes(struct vcpu *vcpu, bool migrated)
{
    unsigned self = this_cpu();
    pcpus[self].counts.turns++;
    pcpus[self].counts.migrations += migrated;
    __atomic_store_n(&pcpus[self].vcpu, vcpu, __ATOMIC_RELAXED);
    __atomic_store_n(&vcpu->mailbox.pcpu, self + 1, __ATOMIC_SEQ_CST);
}

void pcpu_drops(struct vcpu *vcpu)
{
    __atomic_store_n(&vcpu->mailbox.pcpu, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pcpus[this_cpu()].vcpu, NULL, __ATOMIC_RELAXED);
}

bool pcpu_has_work(void)
{
    return pcpus[this_cpu()].work;
}

void pcpu_set_work(bool there_is)
{
    pcpus[this_cpu()].work = there_is;
}

void pcpu_halts(void)
{
    pcpus[this_cpu()].counts.halts++;
}

/* Called by the handler of the NMI, or by this pCPU for itself. If the request comes after the last
 * check before the entry, the timer causes an exit before the guest's first instruction. */
static void vcpu_look_again(struct vcpu *vcpu)
{
    attention_request(&vcpu->vmx.attention, ATTENTION_KICK);
    vmwrite(VMCS_PREEMPTION_TIMER_VALUE, 0);
}

static struct vcpu *vcpu_here(void)
{
    return __atomic_load_n(&pcpus[this_cpu()].vcpu, __ATOMIC_RELAXED);
}

/* The vCPU prints the text when the current exit has been handled. */
void transcript_notify(void)
{
    struct vcpu *vcpu = vcpu_here();
    if (vcpu)
        attention_request(&vcpu->vmx.attention, ATTENTION_PRINT);
}

void pcpu_has_chores(void)
{
    struct vcpu *vcpu = vcpu_here();
    if (vcpu)
        attention_request(&vcpu->vmx.attention, ATTENTION_CHORES);
}

struct transcript *transcript_running(const char **name)
{
    const struct vcpu *vcpu = vcpu_here();
    *name = vcpu ? vcpu->vm->name : NULL;
    return vcpu ? vcpu->vm->console.transcript : NULL;
}

/* Work of a vCPU that pauses is continued by run_attend() before the guest continues. A caller on a
 * pCPU that runs no vCPU is creating or destroying a VM, which pauses after each piece. */
bool mmu_pauses(void)
{
    struct vcpu *vcpu = vcpu_here();
    if (!vcpu)
        return pcpu_has_work();
    if (!attention_requested(&vcpu->vmx.attention, ATTENTION_KICK | ATTENTION_ENDED) &&
        rdtsc() < vcpu->next_event)
        return false;
    attention_request(&vcpu->vmx.attention, ATTENTION_TIMER);
    return true;
}

static void pcpu_kicked(void)
{
    struct vcpu *vcpu = vcpu_here();
    if (!vcpu)
        return;
    pcpus[this_cpu()].counts.kicks++;
    vcpu_look_again(vcpu);
}

void pcpu_kick(unsigned pcpu)
{
    if (pcpu != this_cpu())
        cpu_kick(pcpu);
    else if (vcpu_here())
        vcpu_look_again(vcpu_here());
}

/* A vCPU publishes its pCPU before it looks for messages, and a sender writes its message before it
 * reads the pCPU, so one of the two sees the other. */
void pcpu_kick_vcpu(const struct vcpu *vcpu)
{
    uint32_t pcpu = __atomic_load_n(&vcpu->mailbox.pcpu, __ATOMIC_SEQ_CST);
    if (pcpu)
        pcpu_kick(pcpu - 1);
}

static void pcpu_start(void)
{
    if (!vmx_cpu_is_alike() || !mitigate_is_alike())
        return;
    extra_state_enable();
    mitigate_start();
    if (!trace_create_ring(this_cpu()) && vmx_init_cpu())
        __atomic_fetch_or(&running, BIT(this_cpu()), __ATOMIC_RELEASE);
}

void pcpus_start(void)
{
    kick_set_hook(pcpu_kicked);
    epoch_cpu_count = cpu_count;
    for (unsigned i = 1; i < cpu_count; i++) {
        cpu_give_work(i, pcpu_start);
        if (!cpu_wait_work(i, START_MS))
            log_error("CPU %u does not return from entering VMX operation; it runs no guests", i);
    }
    if (cpu_count > 1)
        log_info("cpus: %u of %u run guests", pcpus_count(), cpu_count);
}
