/* SPDX-License-Identifier: MIT */
/*
 * Interrupts by the CPU (vm/apicv.c, vmx/apicv.c, dev/lapic_page.c) against the software model: the
 * same random accesses and interrupts go to an APIC whose page and VMCS belong to a CPU, and to one
 * without. The CPU here does what SDM 3, chapter 30, says, and not what an emulator does. Both
 * guests must read the same, take the same interrupts, and end the same level-triggered ones.
 */
#include "tests/unit/vm/apicv_world.h"

/* ---- The controls ---------------------------------------------------------------------------- */

static uint64_t primary(void)
{
    return vmcs[VMCS_PRIMARY_CONTROLS] &
           (PRIMARY_TPR_SHADOW | PRIMARY_CR8_LOAD_EXITING | PRIMARY_CR8_STORE_EXITING);
}

static uint64_t secondary(void)
{
    return vmcs[VMCS_SECONDARY_CONTROLS] & SECONDARY_APICV;
}

static unsigned passing(const bool passes[0x100])
{
    unsigned count = 0;
    for (unsigned i = 0; i < 0x100; i++)
        count += passes[i];
    return count;
}

/* The controls follow the mode, all of them together, and nothing else changes (rule N30). */
static void controls_follow_the_mode(void **state)
{
    (void)state;
    const uint64_t first = vmcs[VMCS_PRIMARY_CONTROLS], second = vmcs[VMCS_SECONDARY_CONTROLS];
    const uint64_t cr8 = PRIMARY_CR8_LOAD_EXITING | PRIMARY_CR8_STORE_EXITING;
    static const uint8_t modes[] = {LAPIC_XAPIC, LAPIC_X2APIC, LAPIC_X2APIC, LAPIC_OFF,
                                    LAPIC_OFF,   LAPIC_XAPIC,  LAPIC_X2APIC, LAPIC_OFF};
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        set_mode(modes[i]);
        bool on = modes[i] == LAPIC_X2APIC;
        assert_int_equal(vcpu->vmx.apicv.on, on);
        assert_int_equal(primary(), on ? PRIMARY_TPR_SHADOW : cr8);
        assert_int_equal(secondary(), on ? SECONDARY_APICV : 0);
        assert_int_equal((vmcs[VMCS_PRIMARY_CONTROLS] ^ first) & ~cr8 & ~PRIMARY_TPR_SHADOW, 0);
        assert_int_equal((vmcs[VMCS_SECONDARY_CONTROLS] ^ second) & ~SECONDARY_APICV, 0);
        assert_int_equal(passing(read_passes), on ? 29 : 0);
        assert_int_equal(passing(write_passes), on ? 2 : 0);
        assert_true(vcpu->lapic.page == (on ? phys_to_virt(vcpu->vmx.apicv.page) : NULL));
    }
}

/* A CPU that lacks one of the controls, or on which a CR8 exit must be on. */
static void other_cpus(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t bits[] = {PRIMARY_TPR_SHADOW, SECONDARY_VIRTUALIZE_X2APIC,
                                        SECONDARY_APIC_REGISTERS,
                                        SECONDARY_VIRTUAL_INTERRUPT_DELIVERY};
        vmx.controls.set[i ? CONTROL_SECONDARY : CONTROL_PRIMARY] &= ~bits[i];
        assert_false(vmx_apicv_possible());
        vmx.controls.set[i ? CONTROL_SECONDARY : CONTROL_PRIMARY] |= bits[i];
        assert_true(vmx_apicv_possible());
    }
    vmx.msrs.true_primary |= PRIMARY_CR8_LOAD_EXITING;
    set_mode(LAPIC_X2APIC);
    assert_int_equal(primary(), PRIMARY_TPR_SHADOW | PRIMARY_CR8_LOAD_EXITING);
}

/* Without apicv=1 there is no page, and the APIC stays with the hypervisor. */
static void switched_off(void **state)
{
    (void)state;
    vcpu->vmx.apicv.page = HPA(0);
    vmx.apicv = false;
    assert_int_equal(apicv_setup(vcpu), 0);
    assert_int_equal(vcpu->vmx.apicv.page.v, 0);
    set_mode(LAPIC_X2APIC);
    assert_false(vcpu->vmx.apicv.on);
    assert_int_equal(secondary(), 0);
    assert_int_equal(passing(read_passes) + passing(write_passes), 0);
}

/* The reads of a TD that are #VE exit. */
static void registers_of_a_td(void **state)
{
    (void)state;
    static struct td_vcpu *const td = (struct td_vcpu *)0x1000;
    vcpu->td = td;
    set_mode(LAPIC_X2APIC);
    assert_int_equal(passing(read_passes), 26);
    assert_false(read_passes[LAPIC_ID] || read_passes[LAPIC_VERSION] || read_passes[LAPIC_LDR]);
}

/* A change of the mode keeps what an xAPIC has accepted, and loses what is disabled (N31). */
static void what_waits_moves_along(void **state)
{
    (void)state;
    lapic_write(&vcpu->lapic, LAPIC_SVR, 0x1ff);
    lapic_write(&twin, LAPIC_SVR, 0x1ff);
    interrupted(0x41, false);
    interrupted(0x93, true);
    assert_int_equal(take_one(), 0x93);
    lapic_write(&vcpu->lapic, LAPIC_TPR, 0x32);
    lapic_write(&twin, LAPIC_TPR, 0x32);
    set_mode(LAPIC_X2APIC);
    assert_int_equal(*page_at(0x80), 0x32);
    read_register(LAPIC_TPR);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPT_STATUS], 0x9341);
    assert_int_equal(take_one(), -1);
    write_register(LAPIC_EOI, 0);
    assert_int_equal(ends.count, 1);
    assert_int_equal(take_one(), 0x41);
    interrupted(0x51, false);
    set_mode(LAPIC_OFF);
    assert_int_equal(lapic_pending(&vcpu->lapic), -1);
    set_mode(LAPIC_XAPIC);
    set_mode(LAPIC_X2APIC);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPT_STATUS], 0);
    for (unsigned reg = LAPIC_ISR; reg < LAPIC_IRR + 8; reg++)
        read_register(reg);
}

/* INIT clears the page, and with it RVI, SVI and the EOI-exit bitmap (N32). */
static void init_clears(void **state)
{
    (void)state;
    interrupted(0x41, false);
    interrupted(0x93, true);
    assert_int_equal(take_one(), 0x93);
    write_register(LAPIC_TPR, 0x20);
    assert_true(vmcs[VMCS_EOI_EXIT_BITMAP_2]);
    init_signal();
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPT_STATUS], 0);
    assert_int_equal(vmcs[VMCS_EOI_EXIT_BITMAP_2], 0);
    assert_true(vcpu->vmx.apicv.on);
    for (unsigned reg = 0; reg < 0x40; reg++)
        read_register(reg);
}

/* Of level-triggered vectors, and of no others, the EOI exits (N33). */
static void level_triggered_ones_exit(void **state)
{
    (void)state;
    for (unsigned v = 16; v < 256; v++) {
        for (unsigned level = 0; level < 2; level++) {
            interrupted((uint8_t)v, level);
            for (unsigned w = 0; w < 256; w++)
                assert_int_equal(!!(vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * (w / 64)] & BIT(w % 64)),
                                 w == v && level);
            assert_int_equal(take_one(), (int)v);
            write_register(LAPIC_EOI, 0);
            assert_int_equal(ends.count, level);
        }
        interrupted((uint8_t)v, false); /* edge-triggered again */
        assert_int_equal(take_one(), (int)v);
        write_register(LAPIC_EOI, 0);
        ends = twin_ends = (struct ends){0};
    }
}

/* The CPU sends a self-IPI only if that differs in nothing from what the APIC does (N34). */
static void self_ipis(void **state)
{
    (void)state;
    assert_true(write_passes[LAPIC_SELF_IPI]);
    write_register(LAPIC_SELF_IPI, 0x61);
    assert_int_equal(take_one(), 0x61);
    write_register(LAPIC_SELF_IPI, 5); /* illegal: an error, and no interrupt */
    write_register(LAPIC_ESR, 0);
    read_register(LAPIC_ESR);
    assert_int_equal(lapic_read(&vcpu->lapic, LAPIC_ESR), 0x60);
    write_register(LAPIC_SVR, 0xff); /* disabled by software */
    assert_false(write_passes[LAPIC_SELF_IPI]);
    write_register(LAPIC_SELF_IPI, 0x71);
    write_register(LAPIC_SVR, 0x1ff);
    assert_true(write_passes[LAPIC_SELF_IPI]);
    assert_int_equal(take_one(), -1);
    interrupted(0x81, true);
    assert_false(write_passes[LAPIC_SELF_IPI]);
    write_register(LAPIC_SELF_IPI, 0x81); /* edge-triggered from now on */
    assert_true(write_passes[LAPIC_SELF_IPI]);
    assert_int_equal(take_one(), 0x81);
    write_register(LAPIC_EOI, 0);
    assert_int_equal(ends.count, 0);
}

/* The VMCS is written only after a change, and of the bitmap only what differs (N35). */
static void writes_only_changes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * i] = 0xbad;
    interrupted(0x41, false);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * i], 0xbad);
    interrupted(0x95, true);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * i], i == 2 ? BIT(0x95 % 64) : 0xbad);
    for (unsigned i = 0; i < 4; i++)
        vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * i] = i == 2 ? BIT(0x95 % 64) : 0;
    vcpu->vmx.attention.word = 0;
    assert_int_equal(take_one(), 0x95);
    write_register(LAPIC_TPR, 0x30);
    read_register(LAPIC_PPR);
    assert_int_equal(vcpu->vmx.attention.word, 0);
    interrupted(0x42, false);
    assert_int_equal(vcpu->vmx.attention.word, ATTENTION_EVENT);
}

/* A timer with the shortest period does not make the guest exit all the time while its vector
 * waits, and after the delivery no expiry is lost (N36). */
static void the_timer_waits_for_the_cpu(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        setup_on(state);
        write_register(LAPIC_LVT_TIMER, 0x20061);
        write_register(LAPIC_DIVIDE, 0xb);
        write_register(LAPIC_INITIAL_COUNT, 1);
        tsc += 100;
        enter();
        assert_int_equal(armed, NEVER);
        assert_int_equal(cpu.rvi, 0x61);
        assert_false(read_passes[LAPIC_IRR + 3]);
        assert_int_equal(take_one(), 0x61);
        tsc += 100;
        if (way == 0) { /* the guest polls IRR */
            read_register(LAPIC_IRR + 3);
        } else if (way == 1) { /* something else is synchronised meanwhile */
            interrupted(0x31, false);
        } else if (way == 2) { /* INIT */
            init_signal();
            assert_true(read_passes[LAPIC_IRR + 3]);
            continue;
        }
        write_register(LAPIC_EOI, 0);
        assert_int_equal(take_one(), 0x61);
    }
}

/* The same vector is pending because the CPU has sent it, when the timer is armed. */
static void the_timer_shares_its_vector(void **state)
{
    (void)state;
    write_register(LAPIC_LVT_TIMER, 0x61);
    write_register(LAPIC_DIVIDE, 0xb);
    write_register(LAPIC_SELF_IPI, 0x61);
    write_register(LAPIC_INITIAL_COUNT, 1000);
    assert_int_equal(armed, NEVER);
    assert_int_equal(take_one(), 0x61);
    write_register(LAPIC_EOI, 0);
    assert_int_equal(armed, tsc + 1000);
    tsc += 1000;
    enter();
    assert_int_equal(take_one(), 0x61);
}

/* ---- Random sequences ------------------------------------------------------------------------ */

static uint8_t some_vector(void)
{
    static const uint8_t few[] = {0x20, 0x21, 0x3f, 0x40, 0x61, 0x80, 0xef, 0xff};
    return below(2) ? few[below(8)] : (uint8_t)next();
}

static uint64_t some_value(uint32_t reg)
{
    switch (reg) {
    case LAPIC_EOI:
    case LAPIC_ESR:
        return below(20) ? 0 : next();
    case LAPIC_SVR:
        return 0xff | (below(8) ? 0x100 : 0);
    case LAPIC_LVT_TIMER:
        return some_vector() | (uint64_t)below(4) << 17 | (below(8) ? 0 : BIT(16));
    case LAPIC_INITIAL_COUNT:
        return below(300);
    case LAPIC_ICR: /* to itself: fixed or lowest priority */
        return some_vector() | 0x40000 | below(2) << 8;
    case LAPIC_SELF_IPI:
        return below(20) ? some_vector() : next() >> below(64);
    case LAPIC_TPR:
        return below(20) ? below(0x100) & (below(2) ? 0x3f : 0xff) : next() >> below(64);
    default:
        return next() >> below(64);
    }
}

static void a_write(void)
{
    static const uint8_t often[] = {LAPIC_EOI,       LAPIC_EOI, LAPIC_EOI,           LAPIC_TPR,
                                    LAPIC_SELF_IPI,  LAPIC_ICR, LAPIC_INITIAL_COUNT, LAPIC_SVR,
                                    LAPIC_LVT_TIMER, LAPIC_EOI};
    uint32_t reg = below(8) ? often[below(ARRAY_SIZE(often))] : below(0x40);
    if (reg != LAPIC_ICR || below(2))
        write_register(reg, some_value(reg));
}

static void a_deadline(void)
{
    uint64_t until = below(4) ? tsc + below(300) : 0;
    lapic_set_tsc_deadline(&vcpu->lapic, until);
    lapic_set_tsc_deadline(&twin, until);
    enter();
}

static void another_mode(void)
{
    static const uint8_t modes[] = {LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC};
    unsigned mode = modes[below(3)];
    if (mode == LAPIC_XAPIC && twin.mode == LAPIC_X2APIC)
        return;
    if (mode == LAPIC_X2APIC && twin.mode == LAPIC_OFF)
        return;
    set_mode(mode);
    if (mode == LAPIC_XAPIC) {
        lapic_write(&vcpu->lapic, LAPIC_SVR, 0x1ff);
        lapic_write(&twin, LAPIC_SVR, 0x1ff);
    }
}

/* The page and the VMCS are all that the CPU has of the guest: another CPU goes on with them. */
static void another_cpu(void)
{
    if (!vcpu->vmx.apicv.on)
        return;
    memset(&cpu, 0xee, sizeof(cpu));
    enter();
}

static void step(void)
{
    unsigned what = below(100);
    tsc += below(4) ? below(20) : below(400);
    enter();
    if (what < 20)
        interrupted(some_vector(), below(3) == 0);
    else if (what < 45)
        (void)take_one();
    else if (what < 70)
        a_write();
    else if (what < 92)
        read_register(below(6) ? below(0x40) : below(0x100));
    else if (what < 95)
        a_deadline();
    else if (what < 97)
        another_cpu();
    else if (what == 97 || twin.mode != LAPIC_X2APIC)
        another_mode();
    else if (below(4) == 0)
        init_signal();
}

static void the_models_agree(void **state)
{
    (void)state;
    uint64_t exits = 0, delivered = 0;
    for (uint64_t seed = 1; seed <= support_rounds(400); seed++) {
        setup_on(state);
        random_state = seed * 0x9e3779b97f4a7c15 | 1;
        for (unsigned i = 0; i < 600; i++)
            step();
        exits += ends.count;
        delivered += updates;
    }
    assert_true(exits && delivered);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup_on)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(controls_follow_the_mode, setup),
        cmocka_unit_test_setup(other_cpus, setup),
        cmocka_unit_test_setup(switched_off, setup),
        cmocka_unit_test_setup(registers_of_a_td, setup),
        cmocka_unit_test_setup(what_waits_moves_along, setup),
        TEST(init_clears),
        TEST(level_triggered_ones_exit),
        TEST(self_ipis),
        TEST(writes_only_changes),
        TEST(the_timer_waits_for_the_cpu),
        TEST(the_timer_shares_its_vector),
        TEST(the_models_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
