/* SPDX-License-Identifier: MIT */
/*
 * The exceptions of a TD (vm/td_exit.c): TDCALL is executed, a debugger with tdx=debug gets what is
 * its own, and all others go to the guest.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "vm/td_exit.c"

#include <stdlib.h>
#include <string.h>

static struct vm vm;
static struct vcpu vcpu;
static struct debugger debugger;
static bool is_debuggers, is_tdcall;
static struct {
    unsigned asked, calls, reflected, ended;
} seen;

struct vmx_machine vmx;

void exit_cut_short(struct vcpu *v, uint32_t reason)
{
    (void)v;
    assert_int_equal(reason, REASON_EXCEPTION_OR_NMI);
}

bool vmx_take_host_event(struct vmx_vcpu *half)
{
    (void)half;
    return false;
}

bool debugger_exception(struct vcpu *v)
{
    assert_ptr_equal(v->vm->debugger, &debugger);
    seen.asked++;
    return is_debuggers;
}

bool td_at_tdcall(struct vcpu *v, bool *again)
{
    (void)v, (void)again;
    return is_tdcall;
}

void td_call(struct vcpu *v)
{
    (void)v;
    seen.calls++;
}

bool vmx_reflect_exception(struct vmx_vcpu *half)
{
    (void)half;
    seen.reflected++;
    return true;
}

void vcpu_end(const struct vcpu *v, enum vm_ending ending, const char *format, ...)
{
    (void)v, (void)ending, (void)format;
    seen.ended++;
}

/* No other exit is tried here. */
#define NOT_CALLED(head) \
    head                 \
    {                    \
        fail_msg(#head); \
        abort();         \
    }
#define UNUSED __attribute__((unused))
NOT_CALLED(void td_violation(UNUSED struct vcpu *v))
NOT_CALLED(void td_raise_ve(UNUSED struct vcpu *v))
NOT_CALLED(void td_raise(UNUSED struct vcpu *v, UNUSED uint8_t vector))
NOT_CALLED(void mmu_help(UNUSED struct mmu *mmu))
NOT_CALLED(enum tdx_access td_cpu_exit(UNUSED struct vcpu *v, UNUSED uint32_t reason))
NOT_CALLED(uint64_t cpu_reg_load(UNUSED struct cpu_regs *cpu, UNUSED enum cpu_reg which))

static void whose_exception_it_is(void **state)
{
    static const uint8_t vectors[] = {VECTOR_DB, VECTOR_BP, VECTOR_UD, VECTOR_AC};
    (void)state;
    vcpu.vm = &vm;
    for (unsigned i = 0; i < 2 * 2 * 2 * ARRAY_SIZE(vectors); i++) {
        uint8_t vector = vectors[i >> 3];
        vm.debugger = i & 1 ? &debugger : NULL;
        is_debuggers = i & 2;
        is_tdcall = i & 4;
        bool taken = i & 1 && is_debuggers, call = is_tdcall && vector == VECTOR_UD;
        memset(&seen, 0, sizeof(seen));
        memset(&vcpu.vmx.exit, 0, sizeof(vcpu.vmx.exit));
        vcpu.exits[REASON_EXCEPTION_OR_NMI] = 1; /* this exit */
        vcpu.exits[REASON_TDCALL] = 0;
        vcpu.vmx.exit.reason = REASON_EXCEPTION_OR_NMI;
        vmcs[VMCS_EXIT_INTERRUPTION_INFO] = BIT(31) | 3 << 8 | vector;
        assert_true(td_exit(&vcpu, REASON_EXCEPTION_OR_NMI));
        assert_int_equal(seen.asked, i & 1);
        assert_int_equal(seen.calls, !taken && call);
        assert_int_equal(vcpu.exits[REASON_TDCALL], !taken && call);
        assert_int_equal(vcpu.exits[REASON_EXCEPTION_OR_NMI], taken || !call);
        assert_int_equal(seen.reflected, !taken && !call);
        assert_int_equal(seen.ended, 0);
    }
}

/* A CPU that has TDX does not raise #UD for TDCALL, but exits. */
static void a_cpu_with_tdx(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    vcpu.vm = &vm;
    assert_true(td_exit(&vcpu, REASON_TDCALL));
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.asked + seen.reflected + seen.ended, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_exception_it_is),
        cmocka_unit_test(a_cpu_with_tdx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
