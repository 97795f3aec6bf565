/* SPDX-License-Identifier: MIT */
/* Creates and destroys what a VM has as a TD; see the header. */
#include "vm/td.h"

#include "arch/x86/cpu.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "mmu/external.h"
#include "tdx/measure.h"
#include "vm/exits.h"
#include "vm/layout.h"
#include "vm/td_cpu.h"
#include "vm/td_memory.h"
#include "vm/td_report.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

/* The page at vm->td. */
struct td_page {
    struct td td;
    struct td_measurement measurement;
    struct external external;
};
_Static_assert(offsetof(struct td_page, td) == 0, "vm->td is the page");
_Static_assert(sizeof(struct td_page) <= PAGE_SIZE && sizeof(struct td_vcpu) <= PAGE_SIZE,
               "a page for each");

/* ---- The VM ---------------------------------------------------------------------------------- */

/* Everything in the VM's slots can be private. */
static uint64_t private_frames(uint64_t ram)
{
    return (ram + (GUEST_MIDDLE - GUEST_BIOS) + GUEST_SHIM_SIZE) >> PAGE_SHIFT;
}

uint64_t td_pages(uint64_t ram, unsigned vcpus)
{
    return 1 + vcpus + external_pages(private_frames(ram));
}

static int make_state(struct vm *vm, bool debug)
{
    hpa_t page = page_alloc(0);
    if (page_is_none(page)) {
        log_error("guest %s: no page left for its state as a TD", vm->name);
        return -ENOMEM;
    }
    struct td_page *state = phys_to_virt(page);
    page_clear(state, 0);
    tdx_measure_init(&state->measurement);
    td_reporter_prepare();
    vm->td = &state->td;
    *vm->td = (struct td){
        .gpa_width = TD_GPA_WIDTH,
        .vcpus = (uint16_t)vm->words.vcpus,
        .attributes = TD_ATTR_SEPT_VE_DISABLE | (debug ? TD_ATTR_DEBUG : 0),
        .td_ctls = TD_CTLS_PENDING_VE_DISABLE,
        .measurement = &state->measurement,
        .external = &state->external,
    };
    vm->td->external->measure = td_measure_page;
    td_cpu_create(vm);
    return 0;
}

int td_create(struct vm *vm, bool debug)
{
    int error = vm->td ? 0 : make_state(vm, debug);
    return error ? error
                 : external_create(vm->td->external, &vm->mmu, private_frames(vm->words.memory),
                                   false);
}

bool td_destroy_piece(struct vm *vm)
{
    if (!vm->td)
        return true;
    if (!external_destroy_piece(vm->td->external))
        return false;
    page_free(virt_to_phys(vm->td), 0);
    vm->td = NULL;
    return true;
}

/* ---- The vCPU -------------------------------------------------------------------------------- */

int td_vcpu_create(struct vcpu *vcpu, bool ve_by_cpu)
{
    if (!vcpu->vm->td)
        return 0;
    hpa_t page = page_alloc(0);
    if (page_is_none(page)) {
        log_error("guest %s: no page left for a vCPU's state as a TD", vcpu->vm->name);
        return -ENOMEM;
    }
    vcpu->td = phys_to_virt(page);
    page_clear(vcpu->td, 0);
    vcpu->td->td = vcpu->vm->td;
    vcpu->td->index = vcpu->index;
    vcpu->td->ve_by_cpu = ve_by_cpu && vmx_ve_enable(page);
    vcpu->vmx.td = true;
    vcpu->vmx.holds_nmis = &vcpu->td->ve.busy;
    vmx_update_extra_work(&vcpu->vmx);
    vmwrite(VMCS_EXCEPTION_BITMAP, EXCEPTIONS_EXITING | BIT(VECTOR_UD));
    td_cpu_setup(vcpu);
    return 0;
}

void td_vcpu_destroy(struct vcpu *vcpu)
{
    if (vcpu->td)
        page_free(virt_to_phys(vcpu->td), 0);
    vcpu->td = NULL;
}
