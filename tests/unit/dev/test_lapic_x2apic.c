/* SPDX-License-Identifier: MIT */
/* The local APIC in x2APIC mode (SDM 3, 11.12): the transitions between modes, the MSRs, and the
 * destinations. */
#include "tests/unit/dev/lapic_sender.h"

#include "dev/lapic_mmio.h"
#include "dev/lapic_msr.h"

#define ID     0x12345u
#define MSR(r) (0x800u + (r))

static int setup_x2apic(void **state)
{
    setup(state);
    lapic_init(&apic, ID, &sending_host, &apic);
    put(LAPIC_SVR, 0x1ff);
    assert_true(lapic_set_mode(&apic, LAPIC_X2APIC));
    sends = 0;
    return 0;
}

static uint64_t read_msr(uint32_t msr)
{
    uint64_t value = 0xbad;
    assert_true(lapic_msr_read(&apic, msr, &value));
    return value;
}

static void write_msr(uint32_t msr, uint64_t value)
{
    assert_true(lapic_msr_write(&apic, msr, value));
}

/* ---- Modes ----------------------------------------------------------------------------------- */

static void go_to(unsigned mode)
{
    lapic_init(&apic, ID, &sending_host, &apic);
    if (mode == LAPIC_X2APIC || mode == LAPIC_OFF)
        assert_true(lapic_set_mode(&apic, mode));
}

/* The transitions of figure 11-27. Bits 11:10 are 01 in no mode. */
static void transitions(void **state)
{
    (void)state;
    static const bool legal[4][4] = {
        [LAPIC_OFF] = {[LAPIC_OFF] = true, [LAPIC_XAPIC] = true},
        [LAPIC_XAPIC] = {[LAPIC_OFF] = true, [LAPIC_XAPIC] = true, [LAPIC_X2APIC] = true},
        [LAPIC_X2APIC] = {[LAPIC_OFF] = true, [LAPIC_X2APIC] = true},
    };
    for (unsigned from = 0; from < 4; from++) {
        for (unsigned to = 0; from != 1 && to < 4; to++) {
            go_to(from);
            assert_int_equal(apic.mode, from);
            if (lapic_set_mode(&apic, to) != legal[from][to])
                fail_msg("from %u to %u", from, to);
            assert_int_equal(apic.mode, legal[from][to] ? to : from);
        }
    }
}

static void registers_stay_on_the_way_to_x2apic(void **state)
{
    setup_on(state);
    put(LAPIC_TPR, 0x20);
    put(LAPIC_LVT_LINT0, 0x8712);
    put(LAPIC_LDR, 0x5a000000);
    put(LAPIC_LVT_TIMER, 0x60);
    put(LAPIC_INITIAL_COUNT, 1000);
    lapic_accept(&apic, 0x41);
    unsigned calls = interrupt_calls + timer_calls;
    assert_true(lapic_set_mode(&apic, LAPIC_X2APIC));
    assert_true(interrupt_calls + timer_calls > calls);
    assert_int_equal(read_msr(MSR(LAPIC_TPR)), 0x20);
    assert_int_equal(read_msr(MSR(LAPIC_LVT_LINT0)), 0x8712);
    assert_int_equal(read_msr(MSR(LAPIC_SVR)), 0x1ff);
    assert_int_equal(lapic_pending(&apic), 0x41);
    assert_int_equal(lapic_deadline(&apic), tsc + 2000);
    assert_int_equal(read_msr(MSR(LAPIC_LDR)), 1); /* computed from the ID and read-only */

    assert_true(lapic_set_mode(&apic, LAPIC_OFF));
    assert_int_equal(lapic_pending(&apic), -1);
    assert_true(lapic_deadline(&apic) == LAPIC_NEVER);
    assert_true(lapic_set_mode(&apic, LAPIC_XAPIC));
    assert_int_equal(get(LAPIC_TPR), 0);
    assert_int_equal(get(LAPIC_SVR), 0xff);
}

static void init_keeps_mode_and_id(void **state)
{
    (void)state;
    static const unsigned modes[] = {LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC};
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        go_to(modes[i]);
        put(LAPIC_TPR, 0x30);
        lapic_reset(&apic);
        assert_int_equal(apic.mode, modes[i]);
        assert_int_equal(get(LAPIC_TPR), 0);
        assert_int_equal(get(LAPIC_ID), modes[i] == LAPIC_X2APIC ? ID : ID << 24);
    }
}

/* After an INIT in any state, the APIC has kept only its mode, its ID and its callbacks. */
static void init_leaves_nothing(void **state)
{
    (void)state;
    static const unsigned modes[] = {LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC};
    struct lapic fresh;
    random_state = 1;
    for (unsigned i = 0; i < 300; i++) {
        go_to(modes[i % 3]);
        fresh = apic;
        lapic_reset(&fresh);
        uint8_t *bytes = (uint8_t *)&apic;
        for (size_t n = 0; n < sizeof(apic); n++)
            bytes[n] = (uint8_t)random_below(256);
        apic.host = fresh.host;
        apic.context = fresh.context;
        apic.mode = fresh.mode;
        apic.id = fresh.id;
        apic.page = NULL;
        lapic_reset(&apic);
        assert_int_equal(apic.timer_end, 0);
        assert_int_equal(lapic_pending(&apic), -1);
        assert_int_equal(lapic_deadline(&apic), LAPIC_NEVER);
        assert_int_equal(apic.errors | apic.esr | apic.initial | apic.divide, 0);
        assert_memory_equal(apic.irr, fresh.irr, sizeof(apic.irr));
        assert_memory_equal(apic.isr, fresh.isr, sizeof(apic.isr));
        assert_memory_equal(apic.lvt, fresh.lvt, sizeof(apic.lvt));
        assert_int_equal(apic.tpr | apic.ldr | apic.icr | apic.icr_high, 0);
        assert_int_equal(apic.dfr, ~0u);
        assert_int_equal(apic.svr, 0xff);
    }
}

static void each_front_end_serves_its_mode(void **state)
{
    uint64_t value;
    setup_on(state);
    for (uint32_t msr = 0x800; msr < 0x900; msr++) {
        assert_false(lapic_msr_read(&apic, msr, &value));
        assert_false(lapic_msr_write(&apic, msr, 0));
    }
    put(LAPIC_TPR, 0x30);
    put(0x3f, 0x41); /* the page has no such register */
    assert_int_equal(lapic_pending(&apic), -1);
    assert_int_equal(errors(), BIT(7));

    assert_true(lapic_set_mode(&apic, LAPIC_X2APIC));
    assert_true(lapic_mmio_ops.read(&apic, NULL, 0x80, 4) == ~0ull);
    lapic_mmio_ops.write(&apic, NULL, 0x80, 4, 0x40);
    assert_int_equal(read_msr(MSR(LAPIC_TPR)), 0x30);

    assert_true(lapic_set_mode(&apic, LAPIC_OFF));
    assert_false(lapic_msr_read(&apic, MSR(LAPIC_ID), &value));
    assert_false(lapic_msr_write(&apic, MSR(LAPIC_TPR), 0));
}

/* ---- MSRs ------------------------------------------------------------------------------------ */

/* The accesses and the reserved bits by table 11-6 and the figures of section 11.12. */
static const struct {
    uint32_t first, last;
    const char *how;
    uint64_t may_be_1;
} msrs[] = {
    {0x802, 0x803, "r", 0},
    {0x808, 0x808, "rw", 0xff},
    {0x80a, 0x80a, "r", 0},
    {0x80b, 0x80b, "w", 0},
    {0x80d, 0x80d, "r", 0},
    {0x80f, 0x80f, "rw", 0x3ff},
    {0x810, 0x827, "r", 0},
    {0x828, 0x828, "rw", 0},
    {0x832, 0x832, "rw", 0x710ff},
    {0x833, 0x834, "rw", 0x117ff},
    {0x835, 0x836, "rw", 0x1f7ff},
    {0x837, 0x837, "rw", 0x110ff},
    {0x838, 0x838, "rw", ~0u},
    {0x839, 0x839, "r", 0},
    {0x83e, 0x83e, "rw", 0xb},
    {0x83f, 0x83f, "w", 0xff},
    {0x830, 0x830, "rw", 0xffffffff000cdfff},
};

static bool in(const char *text, char what)
{
    return *text && (*text == what || in(text + 1, what));
}

/* Each MSR and each bit: exactly what the SDM allows is accepted, and an access that is refused has
 * no effect. */
static void access_rules(void **state)
{
    unsigned refused = 0;
    for (uint32_t msr = 0x7c0; msr < 0x940; msr++) {
        const char *how = "";
        uint64_t may_be_1 = 0, value;
        for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
            if (msr >= msrs[i].first && msr <= msrs[i].last) {
                how = msrs[i].how;
                may_be_1 = msrs[i].may_be_1;
            }
        }
        setup_x2apic(state);
        if (lapic_msr_read(&apic, msr, &value) != in(how, 'r'))
            fail_msg("read of %#x", msr);
        for (int bit = -1; bit < 64; bit++) {
            value = bit < 0 ? 0 : BIT(bit);
            setup_x2apic(state);
            struct lapic before = apic;
            bool allowed = in(how, 'w') && !(value & ~may_be_1);
            if (lapic_msr_write(&apic, msr, value) != allowed)
                fail_msg("write of bit %d of %#x", bit, msr);
            if (!allowed) {
                assert_memory_equal(&apic, &before, sizeof(apic));
                assert_int_equal(sends, 0);
                refused++;
            }
        }
    }
    assert_true(refused > 20000);
}

static void identity(void **state)
{
    (void)state;
    assert_int_equal(read_msr(MSR(LAPIC_ID)), ID);
    assert_int_equal(read_msr(MSR(LAPIC_LDR)), 0x1234u << 16 | BIT(5));
    assert_int_equal(read_msr(MSR(LAPIC_VERSION)), 0x50014);
}

static void values(void **state)
{
    (void)state;
    write_msr(MSR(LAPIC_TPR), 0x25);
    assert_int_equal(read_msr(MSR(LAPIC_TPR)), 0x25);
    assert_int_equal(read_msr(MSR(LAPIC_PPR)), 0x25);
    write_msr(MSR(LAPIC_LVT_TIMER), 0x11060); /* delivery status is read-only */
    assert_int_equal(read_msr(MSR(LAPIC_LVT_TIMER)), 0x10060);
    write_msr(MSR(LAPIC_LVT_LINT1), 0x1f7ff); /* remote IRR is read-only as well */
    assert_int_equal(read_msr(MSR(LAPIC_LVT_LINT1)), 0x1a7ff);
    write_msr(MSR(LAPIC_DIVIDE), 0xb);
    write_msr(MSR(LAPIC_INITIAL_COUNT), 0xffffffff);
    assert_int_equal(read_msr(MSR(LAPIC_CURRENT_COUNT)), 0xffffffff);
    lapic_accept(&apic, 0x61);
    assert_int_equal(read_msr(MSR(LAPIC_IRR + 3)), BIT(1));
    lapic_acknowledge(&apic);
    assert_int_equal(read_msr(MSR(LAPIC_ISR + 3)), BIT(1));
    write_msr(MSR(LAPIC_EOI), 0);
    assert_int_equal(read_msr(MSR(LAPIC_ISR + 3)), 0);
}

static void self_ipi(void **state)
{
    (void)state;
    write_msr(MSR(LAPIC_ICR), 0x700000051);
    write_msr(MSR(LAPIC_SELF_IPI), 0x61);
    assert_int_equal(lapic_pending(&apic), 0x61);
    assert_int_equal(sends, 1); /* only the first write sent one */
    assert_true(read_msr(MSR(LAPIC_ICR)) == 0x700000051);
    write_msr(MSR(LAPIC_SELF_IPI), 0xf);
    assert_int_equal(errors(), BIT(5) | BIT(6));
}

/* ---- Destinations ---------------------------------------------------------------------------- */

static void commands_have_64_bits(void **state)
{
    static const struct {
        uint32_t destination, command;
        unsigned sends;
        bool all, here;
    } rows[] = {
        {0x00000005, 0x4061, 1, false, false}, {0x00012345, 0x4061, 1, false, true},
        {0x00000045, 0x4061, 1, false, false}, /* all bits of the ID count */
        {0x000000ff, 0x4061, 1, false, false}, /* the xAPIC's broadcast ID */
        {0xffffffff, 0x4061, 1, true, true},   /* the broadcast ID of an x2APIC */
        {0xffffffff, 0x4861, 1, true, true},   /* also as a logical ID */
        {0x12340020, 0x4861, 1, false, true},  /* logical: cluster and bit */
        {0x1234ffdf, 0x4861, 1, false, false}, {0x12350020, 0x4861, 1, false, false},
        {0x00000005, 0x44061, 0, false, true}, /* shorthands */
        {0x00000005, 0x84061, 1, true, true},  {0x00000005, 0xc4061, 1, true, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t command = (uint64_t)rows[i].destination << 32 | rows[i].command;
        setup_x2apic(state);
        write_msr(MSR(LAPIC_ICR), command);
        assert_true(read_msr(MSR(LAPIC_ICR)) == command);
        if (sends != rows[i].sends || (lapic_pending(&apic) == 0x61) != rows[i].here)
            fail_msg("row %u", i);
        if (sends) {
            assert_int_equal(sent.destination, rows[i].destination);
            assert_int_equal(sent.all, rows[i].all);
        }
    }
}

/* Which APIC accepts a message in which mode. An xAPIC matches no logical ID of more than 8 bits.
 */
static void receivers(void **state)
{
    (void)state;
    static const struct {
        uint32_t id, destination;
        enum lapic_mode mode;
        bool logical, all, taken;
    } rows[] = {
        {300, 300, LAPIC_X2APIC, false, false, true},
        {300, 44, LAPIC_X2APIC, false, false, false}, /* 300 & 0xff */
        {15, 0x00008000, LAPIC_X2APIC, true, false, true},
        {15, 0x00018000, LAPIC_X2APIC, true, false, false},
        {16, 0x00010001, LAPIC_X2APIC, true, false, true},
        {16, 0x00010000, LAPIC_X2APIC, true, false, false},
        {16, 0x00000001, LAPIC_X2APIC, true, false, false},
        {16, 0, LAPIC_X2APIC, false, true, true},
        {3, 0x00000008, LAPIC_XAPIC, true, false, true},
        {3, 0x00010008, LAPIC_XAPIC, true, false, false},
        {3, 3, LAPIC_OFF, false, false, false},
        {3, 0, LAPIC_OFF, false, true, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct lapic_message message = {.mode = LAPIC_FIXED,
                                              .vector = 0x61,
                                              .destination = rows[i].destination,
                                              .logical = rows[i].logical,
                                              .all = rows[i].all};
        lapic_init(&apic, rows[i].id, &sending_host, &apic);
        put(LAPIC_LDR, 0x08000000);
        assert_true(lapic_set_mode(&apic, rows[i].mode));
        if (lapic_addressed(&apic, &message) != rows[i].taken)
            fail_msg("row %u", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(transitions, setup),
        cmocka_unit_test_setup(registers_stay_on_the_way_to_x2apic, setup),
        cmocka_unit_test_setup(init_keeps_mode_and_id, setup),
        cmocka_unit_test_setup(init_leaves_nothing, setup),
        cmocka_unit_test_setup(each_front_end_serves_its_mode, setup),
        cmocka_unit_test_setup(access_rules, setup),
        cmocka_unit_test_setup(identity, setup_x2apic),
        cmocka_unit_test_setup(values, setup_x2apic),
        cmocka_unit_test_setup(self_ipi, setup_x2apic),
        cmocka_unit_test_setup(commands_have_64_bits, setup),
        cmocka_unit_test_setup(receivers, setup),
    };
    return cmocka_run_group_tests_name("x2APIC", tests, NULL, NULL);
}
