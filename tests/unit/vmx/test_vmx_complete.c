/* SPDX-License-Identifier: MIT */
/*
 * How the hypervisor ends an instruction that has exited. It completes the instruction
 * (vmx/complete.c), lets the guest execute it again, or gives an exception back to the guest
 * (vmx/reflect.c). Tested are RIP in each mode, RF, the interrupt shadow, the single step, DR6, and
 * that the event is the reported one.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"

static uint64_t dr6;
static uint64_t host_dr6(void)
{
    return dr6;
}
static void set_host_dr6(uint64_t value)
{
    dr6 = value;
}
static uint64_t no_cr4(void)
{
    return 0;
}
#define read_dr6  host_dr6
#define write_dr6 set_host_dr6
#define read_cr4  no_cr4

#include "vmx/complete.c"
#include "vmx/inject.c"
#include "vmx/reflect.c"
#include "vmx/regs.c"

#include <string.h>

struct vmx_machine vmx;

static struct vmx_vcpu vcpu;

uint8_t vmx_interrupt_taken(struct vmx_vcpu *v)
{
    (void)v;
    fail_msg("no interrupt was pending");
    return 0;
}

static uint64_t primary;
void vmx_set_primary(uint64_t mask, bool on)
{
    primary = on ? primary | mask : primary & ~mask;
}

#define BS BIT(14)

/* ---- Completed ------------------------------------------------------------------------------- */

enum mode { BITS64, COMPATIBILITY, PROTECTED, MODES };

static void prepare(enum mode mode, uint64_t rip, uint64_t rflags, uint64_t shadow)
{
    memset(&vcpu, 0, sizeof(vcpu));
    memset(vmcs, 0, sizeof(vmcs));
    vcpu.exit.reason = REASON_CPUID;
    vmcs[VMCS_ENTRY_CONTROLS] = mode == PROTECTED ? 0 : ENTRY_IA32E_GUEST;
    /* Outside of long mode CS.L has no meaning. */
    vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = mode == COMPATIBILITY ? 0x9b : 0x9b | SEG_AR_L;
    vmcs[VMCS_GUEST_RIP] = rip;
    vmcs[VMCS_GUEST_RFLAGS] = rflags;
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = shadow | BLOCKING_BY_NMI;
    vmcs[VMCS_EXIT_INSTRUCTION_LENGTH] = 2;
}

static const struct {
    uint64_t rip, in64, in32;
} places[] = {
    {0x1000, 0x1002, 0x1002},
    {0xfffffffd, 0xffffffff, 0xffffffff},
    {0xfffffffe, 0x100000000, 0},
    {0xffffffff, 0x100000001, 1},
};

/* The fast path of frequent exits has the same effect as the general one. */
static void instructions_are_completed(void **state)
{
    static const uint64_t shadows[] = {0, BLOCKING_BY_STI, BLOCKING_BY_MOV_SS};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(places) * MODES * 3 * 8; i++) {
        unsigned place = i / 8 % ARRAY_SIZE(places), rest = i / 8 / ARRAY_SIZE(places);
        enum mode mode = (enum mode)(rest % MODES);
        uint64_t shadow = shadows[rest / MODES];
        uint64_t rflags = 2 | (i & 1 ? RFLAGS_RF : 0) | (i & 2 ? RFLAGS_TF : 0);
        bool plain = i & 4;
        prepare(mode, places[place].rip, rflags, shadow);
        if (plain)
            vmx_skip(&vcpu, REASON_CPUID);
        else
            vmx_skip_instruction(&vcpu);
        assert_int_equal(vmcs[VMCS_GUEST_RIP],
                         mode == BITS64 ? places[place].in64 : places[place].in32);
        assert_int_equal(vmcs[VMCS_GUEST_RFLAGS], rflags & ~RFLAGS_RF);
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKING_BY_NMI);
        assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], rflags & RFLAGS_TF ? BS : 0);
    }
}

static void or_executed_again(void **state)
{
    (void)state;
    prepare(BITS64, 0x1000, 2, BLOCKING_BY_STI);
    vmx_retry_instruction(&vcpu);
    assert_int_equal(vmcs[VMCS_GUEST_RIP], 0x1000);
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS], 2 | RFLAGS_RF);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKING_BY_STI | BLOCKING_BY_NMI);
}

/* ---- Given back ------------------------------------------------------------------------------ */

static bool reflect(unsigned type, unsigned vector, uint64_t flags, uint64_t qualification)
{
    prepare(BITS64, 0x1000, 2, BLOCKING_BY_STI);
    vcpu.exit.reason = REASON_EXCEPTION_OR_NMI;
    vmcs[VMCS_EXIT_INTERRUPTION_INFO] = EVENT_INFO_VALID | type << 8 | vector | flags;
    vmcs[VMCS_EXIT_INTERRUPTION_ERROR] = 0x55;
    vmcs[VMCS_EXIT_QUALIFICATION] = qualification;
    vmcs[VMCS_GUEST_DR7] = 0x2400; /* GD */
    dr6 = 0xffff0ff0;
    return vmx_reflect_exception(&vcpu);
}

static void alignment_checks(void **state)
{
    (void)state;
    assert_true(reflect(EVENT_EXCEPTION, VECTOR_AC, EVENT_INFO_ERROR_CODE, 0));
    const struct event *e = &vcpu.pending.exception;
    assert_true(e->valid && e->has_error);
    assert_int_equal(e->vector, VECTOR_AC);
    assert_int_equal(e->error_code, 0x55);
    assert_int_equal(dr6, 0xffff0ff0);
    assert_int_equal(vmcs[VMCS_GUEST_DR7], 0x2400);
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS], 2 | RFLAGS_RF); /* a fault */
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKING_BY_NMI);
    assert_true(attention_requested(&vcpu.attention, ATTENTION_EVENT));
}

/* DR6 gets the bits of the exit qualification, DR7.GD is cleared, and the event keeps its type and
 * length. */
static void debug_exceptions(void **state)
{
    static const struct {
        unsigned type;
        uint64_t qualification, dr6;
    } rows[] = {
        {EVENT_EXCEPTION, BIT(0), 0xffff0ff1},
        {EVENT_EXCEPTION, BIT(3) | BIT(14), 0xffff4ff8},
        {EVENT_EXCEPTION, BIT(13), 0xffff2ff0},
        {EVENT_PRIVILEGED_EXCEPTION, 0, 0xffff0ff0}, /* INT1 */
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_true(reflect(rows[i].type, VECTOR_DB, 0, rows[i].qualification));
        assert_int_equal(dr6, rows[i].dr6);
        assert_int_equal(vmcs[VMCS_GUEST_DR7] & BIT(13), 0);
        assert_int_equal(vcpu.pending.exception.type, rows[i].type);
        assert_int_equal(vcpu.pending.exception.length,
                         rows[i].type == EVENT_PRIVILEGED_EXCEPTION ? 2 : 0);
        assert_false(vcpu.pending.exception.has_error);
    }
}

/* An INT3 is the same event, whose handler returns to the next instruction, and no fault. */
static void breakpoints(void **state)
{
    (void)state;
    assert_true(reflect(EVENT_SOFTWARE_EXCEPTION, VECTOR_BP, 0, 0x77));
    assert_int_equal(vcpu.pending.exception.type, EVENT_SOFTWARE_EXCEPTION);
    assert_int_equal(vcpu.pending.exception.length, 2);
    assert_false(vcpu.pending.exception.has_error);
    assert_int_equal(dr6, 0xffff0ff0);
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS], 2);
}

/* No other vector exits, and an NMI belongs to the host. */
static void nothing_else(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 8; type++)
        for (unsigned vector = 0; vector < 256; vector++) {
            bool ours = vector < 32 && BIT(vector) & EXCEPTIONS_REFLECTED && type != EVENT_RESERVED;
            if (ours)
                continue;
            assert_false(reflect(type, vector, 0, 0));
            assert_false(vcpu.pending.exception.valid);
            assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], BLOCKING_BY_STI | BLOCKING_BY_NMI);
        }
}

/* ---- CR4 ------------------------------------------------------------------------------------- */

/* Whatever the guest writes, the CPU runs with MCE, and the guest reads what it has written
 * (N125). A CPU without machine checks does not let MCE be 1. */
static void machine_checks_stay_enabled(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, CR4_MCE, CR4_PAE, CR4_PAE | CR4_MCE | CR4_PGE};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(values); i++) {
        uint64_t value = values[i / 2], mce = i & 1 ? CR4_MCE : 0;
        prepare(PROTECTED, 0x1000, 2, 0);
        vmx.msrs.cr4_fixed0 = CR4_VMXE;
        vmx.msrs.cr4_fixed1 = CR4_VMXE | CR4_PAE | CR4_PGE | mce;
        vmcs[VMCS_CR4_GUEST_HOST_MASK] = CR4_VMXE | CR4_MCE;
        cpu_set_reg(&vcpu.regs, REG_CR4, value);
        assert_int_equal(vmcs[VMCS_GUEST_CR4], (value & ~CR4_MCE) | CR4_VMXE | mce);
        vcpu.regs.known = 0;
        assert_int_equal(cpu_reg(&vcpu.regs, REG_CR4), value);
    }
}

/* What ends a halt. An interrupt does with IF = 1, or if the vCPU said that it is not blocked. */
static void what_wakes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 32; i++) {
        memset(&vcpu, 0, sizeof(vcpu));
        vcpu.pending.interrupt = i & 1;
        vcpu.pending.nmis = i & 2 ? 1 : 0;
        vcpu.pending.exception.valid = i & 4;
        vcpu.wakes_masked = i & 8;
        vmcs[VMCS_GUEST_RFLAGS] = i & 16 ? RFLAGS_IF : 0;
        vmcs[VMCS_GUEST_PENDING_DEBUG] = 0;
        assert_int_equal(vmx_wakes(&vcpu), (i & 6) || ((i & 1) && (i & 24)));
    }
}

/* The window that is opened for an NMI. While STI blocks events, that is the one of interrupts. */
static void windows_of_an_nmi(void **state)
{
    (void)state;
    static const struct {
        uint64_t interruptibility, window;
    } rows[] = {
        {BLOCKING_BY_STI, PRIMARY_INTERRUPT_WINDOW_EXITING},
        {BLOCKING_BY_MOV_SS, PRIMARY_NMI_WINDOW_EXITING},
        {BLOCKING_BY_NMI, PRIMARY_NMI_WINDOW_EXITING},
        {0, 0},
    };
    memset(&vcpu, 0, sizeof(vcpu));
    vcpu.pending.nmis = 1;
    vmcs[VMCS_GUEST_ACTIVITY_STATE] = ACTIVITY_ACTIVE;
    vmcs[VMCS_GUEST_PENDING_DEBUG] = 0;
    vmcs[VMCS_GUEST_RFLAGS] = RFLAGS_IF;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        vcpu.regs.known = 0;
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = rows[i].interruptibility;
        assert_true(vmx_deliver_event(&vcpu));
        assert_int_equal(primary, rows[i].window);
        assert_int_equal(vcpu.pending.nmis, rows[i].window ? 1 : 0);
        assert_int_equal(vcpu.windows, rows[i].window != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructions_are_completed),
        cmocka_unit_test(or_executed_again),
        cmocka_unit_test(alignment_checks),
        cmocka_unit_test(debug_exceptions),
        cmocka_unit_test(breakpoints),
        cmocka_unit_test(nothing_else),
        cmocka_unit_test(machine_checks_stay_enabled),
        cmocka_unit_test(what_wakes),
        cmocka_unit_test(windows_of_an_nmi),
    };
    return cmocka_run_group_tests_name("the end of an instruction", tests, NULL, NULL);
}
