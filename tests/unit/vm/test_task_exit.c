/* SPDX-License-Identifier: MIT */
/*
 * Exits by task switches (vm/task_exit.c): which instruction or event the switch is for, where the
 * old task continues, and what each result does to the event that the switch has delivered and to
 * the blocking of events. test_task.c tests the switch itself.
 */
#include "tests/unit/vm/regs.h"
#include "tests/unit/vmx/vmcs_world.h"

#include "ept/invalidate.h"
#include "mmu/tlb.h"
#include "vm/task_exit.c"

#include <string.h>

#define EIP    0xfffffffeu
#define EFLAGS (RFLAGS_RF | RFLAGS_IF | 2)

static struct vcpu vcpu;
static struct task_outcome answer;
static struct {
    struct task_request request;
    uint32_t eip, eflags; /* of the old task, as the switch saves them */
    unsigned raised, debug_raised, acts;
    uint8_t vector;
    uint32_t error_code;
} seen;

/* ---- Functions that the file under test calls ------------------------------------------------ */

struct task_outcome task_switch(struct task_cpu *cpu, const struct task_request *request,
                                const struct task_memory *memory)
{
    assert_non_null(memory->context);
    seen.request = *request;
    seen.eip = cpu->eip;
    seen.eflags = cpu->eflags;
    if (answer.switched)
        cpu->eip = 0x5678;
    return answer;
}

void cpu_kick(unsigned number)
{
    (void)number;
}

void invept(unsigned type, uint64_t eptp)
{
    (void)type, (void)eptp;
}

void invvpid(unsigned type, uint16_t vpid, gva_t address)
{
    (void)type, (void)vpid, (void)address;
}

void cpu_reg_load_usual(struct cpu_regs *cpu)
{
    (void)cpu;
}

void cpu_complete(struct cpu_regs *cpu, uint64_t next, uint64_t rflags)
{
    (void)cpu, (void)next, (void)rflags;
}

void vmx_raise(struct vmx_vcpu *half, uint8_t vector, uint32_t error_code)
{
    assert_ptr_equal(half, &vcpu.vmx);
    seen.raised++;
    seen.vector = vector;
    seen.error_code = error_code;
}

void vmx_raise_debug(struct vmx_vcpu *half, uint64_t reasons)
{
    assert_ptr_equal(half, &vcpu.vmx);
    assert_int_equal(reasons, DEBUG_TASK_SWITCH);
    seen.debug_raised++;
}

void mmio_act_on(struct vcpu *which, enum mmio_outcome outcome)
{
    (void)outcome;
    assert_ptr_equal(which, &vcpu);
    seen.acts++;
}

bool vcpu_set_cr3(struct vcpu *which, uint64_t value)
{
    (void)which, (void)value;
    fail_msg("the switch is not executed here");
    return false;
}

/* ---- Exits ----------------------------------------------------------------------------------- */

static void exits(enum task_source source, const struct event *event)
{
    memset(&vcpu, 0, sizeof(vcpu));
    memset(vmcs, 0, sizeof(vmcs));
    memset(&seen, 0, sizeof(seen));
    reg[REG_RIP] = EIP;
    reg[REG_RFLAGS] = EFLAGS;
    vcpu.vmx.exit.reason = REASON_TASK_SWITCH;
    vcpu.vmx.pending.requeue = *event;
    vmcs[VMCS_EXIT_QUALIFICATION] = (uint64_t)source << 30 | 0x28;
    vmcs[VMCS_EXIT_INSTRUCTION_LENGTH] = 5;
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_STI | BLOCKING_BY_NMI;
    exit_task_switch(&vcpu);
    assert_int_equal(seen.request.source, source);
    assert_int_equal(seen.request.selector, 0x28);
}

/* After an instruction and after INT n, INT3 and INT1, the old task continues behind it; an
 * interrupt or a fault returns to where it came. An instruction also ends with RF clear. */
static void where_the_old_task_continues(void **state)
{
    static const struct {
        struct event event;
        uint32_t advance;
        bool external;
    } rows[] = {
        {{.type = EVENT_INTERRUPT, .vector = 0x41}, 0, true},
        {{.type = EVENT_NMI, .vector = VECTOR_NMI}, 0, true},
        {{.type = EVENT_EXCEPTION, .vector = VECTOR_GP, .has_error = true, .error_code = 0x1234},
         0,
         true},
        {{.type = EVENT_SOFTWARE_INTERRUPT, .vector = 0x80, .length = 2}, 2, false},
        {{.type = EVENT_SOFTWARE_EXCEPTION, .vector = 3, .length = 1}, 1, false},
        {{.type = EVENT_PRIVILEGED_EXCEPTION, .vector = VECTOR_DB, .length = 1}, 1, true},
    };
    const struct event none = {0};
    (void)state;
    for (unsigned source = TASK_CALL; source <= TASK_JMP; source++) {
        exits((enum task_source)source, &none);
        assert_int_equal(seen.eip, EIP + 5);
        assert_int_equal(seen.eflags, EFLAGS & ~RFLAGS_RF);
        assert_false(seen.request.external || seen.request.has_error);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct event event = rows[i].event;
        event.valid = true;
        exits(TASK_GATE, &event);
        assert_int_equal(seen.eip, EIP + rows[i].advance);
        assert_int_equal(seen.eflags, EFLAGS);
        assert_int_equal(seen.request.external, rows[i].external);
        assert_int_equal(seen.request.has_error, event.has_error);
        assert_int_equal(seen.request.error_code, event.error_code);
    }
}

/* A switch that is done has delivered its event. One that has failed has not: the event is kept, so
 * that a fault can become a double fault, and that another try delivers it. */
static void what_the_result_does(void **state)
{
    const struct event event = {.valid = true, .type = EVENT_INTERRUPT, .vector = 0x41};
    (void)state;
    for (unsigned i = 0; i < 4 * 2 * 4; i++) {
        enum task_source source = (enum task_source)(i / 8);
        answer = (struct task_outcome){.result = (enum task_result)(i % 4),
                                       .switched = i % 4 <= TASK_TRAP || i / 4 % 2,
                                       .vector = VECTOR_TS,
                                       .error_code = 0x28};
        bool done = answer.result == TASK_DONE || answer.result == TASK_TRAP;
        exits(source, &event);
        assert_int_equal(vcpu.vmx.pending.requeue.valid, !done);
        assert_int_equal(seen.debug_raised, answer.result == TASK_TRAP);
        assert_int_equal(seen.raised, answer.result == TASK_FAULT);
        assert_int_equal(seen.vector, answer.result == TASK_FAULT ? VECTOR_TS : 0);
        assert_int_equal(seen.error_code, answer.result == TASK_FAULT ? 0x28 : 0);
        assert_int_equal(seen.acts, answer.result == TASK_MEMORY);
        assert_int_equal(reg[REG_RIP], answer.switched ? 0x5678 : EIP);
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY],
                         !answer.switched      ? BLOCKING_BY_STI | BLOCKING_BY_NMI
                         : source == TASK_IRET ? 0
                                               : BLOCKING_BY_NMI);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_the_old_task_continues),
        cmocka_unit_test(what_the_result_does),
    };
    return cmocka_run_group_tests_name("exits by task switches", tests, NULL, NULL);
}
