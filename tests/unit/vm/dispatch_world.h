/* SPDX-License-Identifier: MIT */
/* A vCPU whose exits are handled one at a time, as vm/dispatch.c handles them. Include this in one
 * file of each test program. */
#include "tests/unit/vm/run_world.h"

static void run_point(void)
{
}

static void ring0_step(uint64_t *rip)
{
    (void)rip;
}

void ipi_receive(struct vcpu *v)
{
    (void)v;
}

void ipi_start(struct vcpu *v)
{
    (void)v;
}

bool vmx_wakes(const struct vmx_vcpu *half)
{
    (void)half;
    return false;
}

bool vmx_deliver_event(struct vmx_vcpu *half)
{
    (void)half;
    return true;
}

int vmx_run(struct vmx_vcpu *half)
{
    (void)half;
    return 0;
}

static void prepare(void)
{
    memset(&seen, 0, sizeof(seen));
    vm.ending = VM_RUNNING;
    vm.vcpu_count = 1;
    vm.vcpus[0] = vcpu;
    vcpu->vm = &vm;
    vcpu->mmio.mmu = &vm.mmu;
    vcpu->vmx.attention.word = 0;
    vcpu->exits_left = 64;
    vcpu->place = tlb_place(0);
    tlb_cpus[0].entered = tlb_debt(&vm.mmu);
    memset(vmcs, 0, sizeof(vmcs));
}

static inline bool exits(uint32_t reason)
{
    prepare();
    vmcs[VMCS_EXIT_REASON] = reason;
    return vmx_exited(&vcpu->vmx);
}

static int setup(void **state)
{
    (void)state;
    ring0_begin();
    return 0;
}
