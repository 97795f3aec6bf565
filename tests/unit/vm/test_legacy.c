/* SPDX-License-Identifier: MIT */
/* The interrupts of a VM's 8259s and PIT on their way to the first vCPU: by LINT0 as the local APIC
 * is set, by the I/O APIC, which vector is taken and when, and when the vCPU has to watch the PIT.
 * The chips are the real ones; mail and time are the test's. */
#include "tests/unit/support.h"

#include "vm/interrupts.c"
#include "vm/legacy.c"
#include "vm/legacy_timer.c"

#include <string.h>

#define BASE   0x20
#define TSC_HZ 10000000ull

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;
static uint64_t now;
static unsigned mails, nmis, armed;
static uint32_t bits;

void ipi_send_legacy(struct vm *v, uint32_t mail)
{
    assert_ptr_equal(v, &vm);
    mails++;
    bits |= mail;
}

void clock_arm(struct vcpu *v, uint64_t at)
{
    assert_ptr_equal(v, vcpu);
    (void)at;
    armed++;
}

bool vmx_nmis_blocked(const struct vmx_vcpu *v)
{
    (void)v;
    return false;
}

void vmx_raise(struct vmx_vcpu *v, uint8_t vector, uint32_t code)
{
    (void)v, (void)vector, (void)code;
    fail();
}

/* A message of the I/O APIC, as vm/ipi.c posts it. */
static bool send_from_device(void *context, const struct lapic_message *message, bool level)
{
    assert_ptr_equal(context, &vm);
    assert_false(level);
    if (message->mode == LAPIC_EXTINT)
        bits |= MAIL_EXTINT;
    else
        lapic_accept(&vcpu->lapic, message->vector);
    return true;
}

static uint64_t tsc(void)
{
    return now;
}

static uint64_t lapic_now(void *context)
{
    (void)context;
    return now;
}

static void interrupt(void *context)
{
    vcpu_update_interrupt(context);
}

static void nothing(void *context)
{
    (void)context;
}

static void raise_nmi(void *context)
{
    (void)context;
    nmis++;
}

static void lint0(void *context)
{
    vcpu_look_at_pic(context);
}

static const struct lapic_host host = {.now = lapic_now,
                                       .interrupt = interrupt,
                                       .timer = nothing,
                                       .raise_nmi = raise_nmi,
                                       .lint0 = lint0};

/* ---- The guest ------------------------------------------------------------------------------- */

static void out(unsigned port, uint8_t value)
{
    legacy_master_ops.write(&vm, NULL, port, 1, value);
}

static void pit_out(unsigned port, uint8_t value)
{
    pit_ops.write(&vm.pit, NULL, port, 1, value);
}

static void route(unsigned pin, uint32_t entry)
{
    legacy_ioapic_ops.write(&vm, NULL, 0, 4, 0x10 + 2 * pin);
    legacy_ioapic_ops.write(&vm, NULL, 0x10, 4, entry);
}

static void receive(void)
{
    uint32_t mail = bits;
    bits = 0;
    vcpu_receive_legacy(vcpu, mail);
}

static bool pending(void)
{
    return vcpu->vmx.pending.interrupt;
}

static int begin(void **state)
{
    (void)state;
    memset(&vm, 0, sizeof(vm));
    now = 5 * TSC_HZ;
    vm.words.legacy = vm.words.pc = 1;
    vm.vcpus[0] = vcpu;
    vm.vcpu_count = 1;
    vcpu->vm = &vm;
    vcpu->inject_at = vcpu->pit_at = vcpu->delayed_until = TIME_NEVER;
    ioapic_init(&vm.ioapic, send_from_device, &vm);
    pit_init(&vm.pit, tsc, TSC_HZ);
    legacy_init(&vm);
    lapic_init(&vcpu->lapic, 0, &host, vcpu);
    legacy_wire(&vcpu->lapic);
    out(0, 0x11);
    out(1, BASE);
    out(1, 4);
    out(1, 1);
    bits = mails = nmis = armed = 0;
    return 0;
}

/* ---- LINT0 ----------------------------------------------------------------------------------- */

/* The vector is that of the highest request when the interrupt is taken. */
static void vector_at_delivery(void **state)
{
    (void)state;
    legacy_set_line(&vm, 5, true);
    assert_int_equal(mails, 1);
    receive();
    assert_true(pending());
    legacy_set_line(&vm, 3, true);
    assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), BASE + 3);
    assert_false(pending());
    out(0, 0x20);
    receive();
    assert_true(pending());
    assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), BASE + 5);
}

static void falls(void **state)
{
    (void)state;
    legacy_set_line(&vm, 5, true);
    receive();
    legacy_set_line(&vm, 5, false);
    assert_int_equal(mails, 2);
    receive();
    assert_false(pending());
    legacy_set_line(&vm, 5, true);
    receive();
    legacy_set_line(&vm, 5, false); /* the vCPU takes it before it gets this mail */
    assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), BASE + 7);
    receive();
    assert_false(pending());
}

static void by_the_entry_of_lint0(void **state)
{
    static const struct {
        uint32_t entry;
        bool external, fixed, nmi;
    } rows[] = {{0x700, true, false, false}, {0x10700, false, false, false},
                {0x61, false, true, false},  {0x10061, false, false, false},
                {0x400, false, false, true}, {0x200, false, false, false},
                {0x500, false, false, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        (void)begin(state);
        lapic_write(&vcpu->lapic, LAPIC_LVT_LINT0, rows[i].entry);
        legacy_set_line(&vm, 5, true);
        receive();
        assert_int_equal(vcpu->external.valid, rows[i].external);
        assert_int_equal(pending() && !vcpu->external.valid, rows[i].fixed);
        assert_int_equal(nmis, rows[i].nmi);
        lapic_write(&vcpu->lapic, LAPIC_LVT_LINT0, 0x700);
        assert_true(vcpu->external.valid); /* the level passes as soon as it may */
        lapic_write(&vcpu->lapic, LAPIC_SVR, 0xff);
        assert_false(vcpu->external.valid);
        assert_true(lapic_set_mode(&vcpu->lapic, LAPIC_OFF));
        assert_true(vcpu->external.valid); /* LINT0 is INTR now */
    }
}

static void other_vcpus(void **state)
{
    (void)state;
    vcpu->index = 1;
    legacy_set_line(&vm, 5, true);
    receive();
    assert_false(pending());
    bits |= MAIL_EXTINT;
    receive();
    assert_true(pending());
    assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), BASE + 5);
}

static void through_pin_0(void **state)
{
    (void)state;
    lapic_write(&vcpu->lapic, LAPIC_LVT_LINT0, 0x10700);
    route(LINE_PIC, 0x700);
    legacy_set_line(&vm, 6, true);
    receive();
    assert_true(pending());
    assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), BASE + 6);
    assert_false(pending()); /* the message was for one interrupt */
}

/* An interrupt that was injected is delivered first, and is not the 8259's. */
static void injected(void **state)
{
    (void)state;
    lapic_write(&vcpu->lapic, LAPIC_SVR, 0xff);
    vcpu_pend(vcpu, &(struct event){.valid = true, .vector = 0x99});
    lapic_write(&vcpu->lapic, LAPIC_SVR, 0x1ff);
    lapic_write(&vcpu->lapic, LAPIC_LVT_LINT0, 0x700);
    legacy_set_line(&vm, 1, true);
    receive();
    assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), 0x99);
    assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), BASE + 1);
}

/* ---- The PIT --------------------------------------------------------------------------------- */

static void start_pit(unsigned count)
{
    pit_out(3, 0x34);
    pit_out(0, (uint8_t)count);
    pit_out(0, (uint8_t)(count >> 8));
}

static void watched_while_heard(void **state)
{
    (void)state;
    start_pit(11932);
    receive();
    assert_in_range(vcpu->pit_at - now, TSC_HZ / 100 - 100, TSC_HZ / 100 + 100);
    assert_true(vcpu->delayed_until == vcpu->pit_at);
    mails = 0;
    out(1, 0xff);
    assert_int_equal(mails, 1);
    receive();
    assert_true(vcpu->pit_at == TIME_NEVER);
    out(0, 0x20); /* an EOI changes nothing about it */
    assert_int_equal(mails, 1);
    route(LINE_PIT, 0x55);
    assert_int_equal(mails, 2);
    receive();
    assert_true(vcpu->pit_at != TIME_NEVER);
    now = vcpu->pit_at;
    legacy_timer_look(vcpu);
    assert_true(pending());
    assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), 0x55);
}

static void each_tick_once(void **state)
{
    (void)state;
    start_pit(11932);
    receive();
    for (unsigned i = 0; i < 5; i++) {
        now = vcpu->pit_at;
        legacy_timer_look(vcpu);
        receive();
        assert_true(pending());
        assert_true(vcpu->pit_at == TIME_NEVER); /* another one would not be noticed */
        now += i * TSC_HZ / 30;                  /* the guest is late, by several ticks */
        assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), BASE);
        assert_int_equal(armed, i + 1);
        assert_in_range(vcpu->pit_at - now, 0, TSC_HZ / 100 + 100);
        assert_false(pending());
        out(0, 0x20);
    }
}

/* The shortest period is 2 ticks of 838 ns, but an interrupt comes at most every 100 us. */
static void not_too_often(void **state)
{
    (void)state;
    start_pit(2);
    receive();
    for (unsigned i = 0; i < 5; i++) {
        uint64_t last = now;
        now = vcpu->pit_at;
        legacy_timer_look(vcpu);
        receive();
        assert_int_equal(vmx_interrupt_taken(&vcpu->vmx), BASE);
        out(0, 0x20);
        assert_true(i == 0 || now - last >= TSC_HZ / 10000);
    }
}

/* A driver that polls IRR sees the line as it is. */
static void read_as_of_now(void **state)
{
    (void)state;
    out(1, 0xff);
    start_pit(1000);
    receive();
    assert_int_equal(legacy_master_ops.read(&vm, NULL, 0, 1) & 1, 0);
    now += TSC_HZ / 1000;
    assert_int_equal(legacy_master_ops.read(&vm, NULL, 0, 1) & 1, 1);
}

static void without_the_word(void **state)
{
    (void)state;
    vm.words.legacy = 0;
    vm.pic.output = true;
    vcpu_receive_legacy(vcpu, MAIL_EXTINT | MAIL_LINT0);
    vcpu_look_at_pic(vcpu);
    assert_false(pending() || vcpu->extint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(vector_at_delivery, begin),
        cmocka_unit_test_setup(falls, begin),
        cmocka_unit_test_setup(by_the_entry_of_lint0, begin),
        cmocka_unit_test_setup(other_vcpus, begin),
        cmocka_unit_test_setup(through_pin_0, begin),
        cmocka_unit_test_setup(injected, begin),
        cmocka_unit_test_setup(watched_while_heard, begin),
        cmocka_unit_test_setup(each_tick_once, begin),
        cmocka_unit_test_setup(not_too_often, begin),
        cmocka_unit_test_setup(read_as_of_now, begin),
        cmocka_unit_test_setup(without_the_word, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
