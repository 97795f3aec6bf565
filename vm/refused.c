/* SPDX-License-Identifier: MIT */
#include "vm/refused.h"

#include "vm/vm.h"
#include "lib/log.h"
#include "lib/string.h"

#define REFUSED_SHOWN 16u /* refused accesses of each VM that are printed */

void access_report_refusal(struct vcpu *vcpu, const char *access, const char *outcome)
{
    struct vm *vm = vcpu->vm;
    unsigned before = __atomic_fetch_add(&vm->refused, 1, __ATOMIC_RELAXED);
    if (before < REFUSED_SHOWN)
        log_info("# %s: vCPU %u: %s at RIP %#lx: %s", vm->name, vcpu->index, access,
                 cpu_reg(&vcpu->vmx.regs, REG_RIP), outcome);
    if (before == REFUSED_SHOWN - 1)
        log_info("# %s: %u accesses were refused; further ones are not printed", vm->name,
                 REFUSED_SHOWN);
}

void access_refuse(struct vcpu *vcpu, const char *format, ...)
{
    char access[96];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(access, sizeof(access), format, arguments);
    va_end(arguments);
    access_report_refusal(vcpu, access, "#GP");
    vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
}
