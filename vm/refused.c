/* SPDX-License-Identifier: MIT */
#include "vm/refused.h"

#include "vm/vm.h"
#include "lib/log.h"
#include "lib/string.h"

#define REFUSED_SHOWN 16u /* refused accesses of each VM that are printed */

static COLD void refusal_report(struct vcpu *vcpu, const char *outcome, const char *format,
                                va_list arguments)
{
    struct vm *vm = vcpu->vm;
    unsigned before = __atomic_fetch_add(&vm->refused, 1, __ATOMIC_RELAXED);
    if (before < REFUSED_SHOWN) {
        char access[96];
        vsnprintf(access, sizeof(access), format, arguments);
        log_info("# %s: vCPU %u: %s at RIP %#lx: %s", vm->name, vcpu->index, access,
                 cpu_reg(&vcpu->vmx.regs, REG_RIP), outcome);
    }
    if (before == REFUSED_SHOWN - 1)
        log_info("# %s: %u accesses were refused; further ones are not printed", vm->name,
                 REFUSED_SHOWN);
}

void access_refuse(struct vcpu *vcpu, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refusal_report(vcpu, "#GP", format, arguments);
    va_end(arguments);
    vmx_raise(&vcpu->vmx, VECTOR_GP, 0);
}

void access_report_refusal(struct vcpu *vcpu, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refusal_report(vcpu, "refused", format, arguments);
    va_end(arguments);
}
