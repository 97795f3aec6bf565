/* SPDX-License-Identifier: MIT */
/* The trace of a TD's #VE (vm/td_raise.c): its linear address is the TD's own, and is left out
 * unless the TD may be inspected. */
#include "tests/unit/vmx/vmcs_world.h"

#include "vm/td_raise.c"

static struct vm vm;
static struct td_vcpu td_vcpu;
static struct vcpu vcpu = {.vm = &vm, .td = &td_vcpu};

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg)
{
    (void)cpu, (void)reg;
    return 2;
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg reg, uint64_t value)
{
    (void)cpu, (void)reg, (void)value;
}

bool td_ve_fill(struct td_vcpu *td, const struct td_ve *ve)
{
    (void)td, (void)ve;
    return true;
}

void vmx_raise(struct vmx_vcpu *half, uint8_t vector, uint32_t error_code)
{
    (void)half, (void)error_code;
    assert_int_equal(vector, VECTOR_VE);
}

void vmx_end_interrupt_shadow(void)
{
}

static void addresses_of_a_td(void **state)
{
    const struct td_ve ve = {.reason = 48, .qualification = 0x11, .gla = 0x1234, .gpa = 0x5678};
    static const uint64_t kinds[] = {TDX_DEBUG, TDX_PROTECTED};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct trace_reader reader;
        support_reset();
        assert_int_equal(trace_create_ring(0), 0);
        trace_run(5, 0, NULL);
        trace_select(5, TRACE_BIT(ve));
        vm.words.tdx = kinds[i];
        td_raise_ve_with(&vcpu, &ve);
        (void)trace_read_begin(&reader, 5, UINT64_MAX);
        const struct trace_record *record = trace_read_next(&reader);
        assert_non_null(record);
        assert_int_equal(record->values[2], i ? 0 : 0x1234);
        assert_int_equal(record->values[3], 0x5678);
        trace_forget(5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses_of_a_td)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
