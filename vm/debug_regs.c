/* SPDX-License-Identifier: MIT */
/*
 * Exits of MOV to and from the debug registers. DR0 to DR3 and DR6 contain the guest's values and
 * stay loaded (decision D9); DR7 is in the VMCS. The enabled breakpoints are copied for the
 * instructions that are executed in software.
 */
#include "arch/x86/cpu.h"
#include "vm/debug_rules.h"
#include "vm/exits.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

static void debug_file_load(struct debug_file *file)
{
    *file = (struct debug_file){.address = {read_dr0(), read_dr1(), read_dr2(), read_dr3()},
                                .dr6 = read_dr6()};
}

static void debug_file_store(const struct debug_file *file)
{
    write_dr0(file->address[0]);
    write_dr1(file->address[1]);
    write_dr2(file->address[2]);
    write_dr3(file->address[3]);
    write_dr6(file->dr6);
}

void debug_breakpoints_update(struct vcpu *vcpu, const uint64_t *address)
{
    struct breakpoints *b = &vcpu->mmio.breakpoints;
    for (unsigned i = 0; i < ARRAY_SIZE(b->address); i++)
        b->address[i] = address[i];
    b->on = debug_is_enabled(cpu_reg(&vcpu->vmx.regs, REG_DR7));
    if (!b->on)
        return;
    mmio_cache_clear_gva(&vcpu->mmio.cache);
    for (unsigned i = 0; i < ARRAY_SIZE(vcpu->ports); i++)
        vcpu->ports[i].sequence = 0;
}

void exit_mov_dr(struct vcpu *vcpu)
{
    struct debug_file file;
    debug_file_load(&file);
    int vector = debug_mov(&vcpu->vmx.regs, &file, vmx_exit_qualification(&vcpu->vmx.exit));
    debug_file_store(&file);
    debug_breakpoints_update(vcpu, file.address);
    if (vector == DEBUG_DONE) {
        vmx_skip_instruction(&vcpu->vmx);
        return;
    }
    if (vector == VECTOR_DB) /* #DB by DR7.GD is a fault, so its frame has RF set */
        vmx_retry_instruction(&vcpu->vmx);
    vmx_raise(&vcpu->vmx, (uint8_t)vector, 0);
}
