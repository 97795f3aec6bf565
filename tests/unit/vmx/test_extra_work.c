/* SPDX-License-Identifier: MIT */
/*
 * Does each exit begin with extra work (vmx/extra_work.c)? There are five reasons, which come and
 * go independently: poison, IBRS at each exit, PML (vmx/pml.c), an open pass (vm/pass.c) and
 * traced exits. None of them may forget another.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "mmu/mmu.h"
#define mmu_track_open  opens
#define mmu_track_close closes
static int opens(struct mmu *mmu, struct track_opening *opening, gpa_t gpa);
static void closes(struct mmu *mmu, struct track_opening *opening);
#include "vm/pass.c"
#include "vmx/extra_work.c"
#include "vmx/pml.c"

#include <string.h>

struct vmx_machine vmx;
uint32_t mitigate_chosen;

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;

/* ---- What the files use ---------------------------------------------------------------------- */

static int opens(struct mmu *mmu, struct track_opening *opening, gpa_t gpa)
{
    (void)mmu, (void)opening, (void)gpa;
    return 0;
}

static void closes(struct mmu *mmu, struct track_opening *opening)
{
    (void)mmu, (void)opening;
}

void debugger_written(struct vcpu *writer)
{
    (void)writer;
    fail_msg("there is no debugger");
}

void vcpu_end(const struct vcpu *ended, enum vm_ending ending, const char *format, ...)
{
    (void)ended, (void)ending, (void)format;
    fail();
}

void vmx_set_primary(uint64_t controls, bool on)
{
    (void)controls, (void)on;
}

void vmx_raise_trap(uint64_t kind)
{
    (void)kind;
}

/* ---- The test -------------------------------------------------------------------------------- */

/* All combinations of the five reasons, and each transition between two of them. */
static void no_reason_forgets_another(void **state)
{
    (void)state;
    for (unsigned before = 0; before < 32; before++) {
        for (unsigned step = 0; step < 4; step++) {
            memset(&vm, 0, sizeof(vm));
            vcpu->vm = &vm;
            vmx.poison = before & 1;
            mitigate_chosen = before & 2 ? DO_IBRS_AT_EXIT : 0;
            vcpu->vmx.exits_traced = before & 16;
            vmx_update_extra_work(&vcpu->vmx); /* as when a vCPU is created */
            if (before & 4)
                vmx_pml_switch(&vcpu->vmx, true);
            if (before & 8)
                pass_open(vcpu, GPA(0x1000));
            assert_int_equal(vcpu->vmx.extra_work, before != 0);
            unsigned after =
                step < 2 ? (before & ~4u) | step << 2 : (before & ~8u) | (step & 1) << 3;
            if (step < 2)
                vmx_pml_switch(&vcpu->vmx, step);
            else if (step == 2)
                pass_close(vcpu);
            else
                pass_open(vcpu, GPA(0x2000));
            assert_int_equal(vcpu->vmx.extra_work, after != 0);
            assert_int_equal(vcpu->vmx.pml_on, !!(after & 4));
            assert_int_equal(!!(vmread(VMCS_SECONDARY_CONTROLS) & SECONDARY_PML), !!(after & 4));
            vmwrite(VMCS_SECONDARY_CONTROLS, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_reason_forgets_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
