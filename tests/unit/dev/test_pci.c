/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus: the registers of a configuration space by both mechanisms, where BARs are decoded,
 * and random sequences, with interrupts, compared with a model.
 */
#include "tests/unit/dev/pci_steps.h"

#include "lib/errno.h"

static uint64_t random_state;

static uint32_t take(unsigned bytes)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (uint32_t)((z ^ z >> 31) >> (64 - 8 * bytes));
}

static uint64_t port(uint64_t offset, unsigned size)
{
    return pci_data_ops.read(&host, NULL, offset, size);
}

static void address(uint32_t value)
{
    pci_address_ops.write(&host, NULL, 0, 4, value);
}

/* ---- Configuration spaces -------------------------------------------------------------------- */

static void both_mechanisms_lead_to_the_same(void **state)
{
    (void)state;
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        bool there = devfn == 0 || function_of(devfn) >= 0;
        for (unsigned at = 0; at < 0x100; at++)
            for (unsigned size = 1; size <= 4 && at % 4 + size <= 4; size++) {
                const uint64_t by_memory = config((uint64_t)devfn << 12 | at, size);
                address(0x80000000u | devfn << 8 | at);
                if (port(at % 4, size) != by_memory)
                    fail_msg("function %#x, offset %#x, %u bytes", devfn, at, size);
                if (!there)
                    assert_int_equal(by_memory, BITS(8 * size - 1, 0));
            }
        assert_int_equal(config((uint64_t)devfn << 12 | 0x100, 4), there ? 0 : 0xffffffff);
    }
    assert_int_equal(config(AT(0, 0xff), 2), 0); /* its second byte is in the extended space */
    assert_int_equal(config(AT(0, 0xffc), 8), 0xffffffff00000000);
}

static void the_address_register(void **state)
{
    (void)state;
    address(~0u);
    assert_int_equal(pci_address_ops.read(&host, NULL, 0, 4), 0x80fffffc);
    static const struct {
        uint64_t offset, got;
        unsigned size;
    } rows[] = {{0, 0xff, 1},   {1, 0x0e, 1},   {2, 0xff, 1},     {3, 0xff, 1},    {0, 0x0eff, 2},
                {1, 0xff0e, 2}, {2, 0xffff, 2}, {1, 0xffff0e, 3}, {0, 0xff0eff, 3}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const uint64_t ones = BITS(8 * rows[i].size - 1, 0);
        reset_register = 0x0e;
        assert_int_equal(pci_address_ops.read(&host, NULL, rows[i].offset, rows[i].size) & ones,
                         rows[i].got);
        pci_address_ops.write(&host, NULL, rows[i].offset, rows[i].size, 0x04040404);
        const bool reaches = rows[i].offset <= 1 && rows[i].offset + rows[i].size > 1;
        assert_int_equal(reset_register, reaches ? 4 : 0x0e);
        assert_int_equal(pci_address_ops.read(&host, NULL, 0, 4), 0x80fffffc);
    }
    /* Whatever is not enabled, or on another bus, is nobody's. */
    static const uint32_t nobody[] = {0, 0x800, 0x80010000, 0x80ff0800, 0x7fffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(nobody); i++) {
        address(nobody[i]);
        assert_int_equal((uint32_t)port(0, 4), ~0u);
        pci_data_ops.write(&host, NULL, 0, 4, 0);
    }
    world_check();
    host.wiring.reset = NULL;
    assert_int_equal(pci_address_ops.read(&host, NULL, 1, 1) & 0xff, 0xff);
    pci_address_ops.write(&host, NULL, 1, 1, 0);
}

static void the_host_bridge(void **state)
{
    (void)state;
    for (unsigned at = 4; at < 0x100; at += 4)
        set_config(at, 4, ~0u);
    assert_int_equal(config(4, 4), MASTER);
    assert_int_equal(config(8, 4), 0x06000000);
    for (unsigned at = 0xc; at < 0x100; at += 4)
        assert_int_equal(config(at, 4), 0);
}

/* Each bit of each register is written and cleared alone. */
static void every_bit(void **state)
{
    (void)state;
    for (unsigned f = 0; f < FUNCTIONS; f++)
        for (unsigned at = 0; at < 0x100; at++)
            for (unsigned bit = 0; bit < 8; bit++)
                for (unsigned flip = 0; flip < 2; flip++) {
                    uint8_t byte = (uint8_t)(config(AT(f, at), 1) ^ 1u << bit);
                    set_config(AT(f, at), 1, byte);
                    model_write(f, at, byte);
                    world_check();
                }
}

static void the_status_is_cleared_by_ones(void **state)
{
    (void)state;
    pci_master_abort(&functions[0]);
    pci_intx(&functions[0], true);
    assert_int_equal(config(AT(0, 6), 2), 0x2018);
    set_config(AT(0, 4), 4, 0xdfff0000);
    assert_int_equal(config(AT(0, 6), 2), 0x2018);
    set_config(AT(0, 4), 4, 0x20000000);
    assert_int_equal(config(AT(0, 6), 2), 0x18);
}

/* ---- A window, and writable bytes ------------------------------------------------------------ */

static uint64_t window_offset, window_value;

static uint64_t window_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct pci_function *f = device;
    (void)vcpu;
    assert_int_equal(f->lock.taken | host.lock.taken, 0);
    window_offset = offset;
    return 0x55667788u >> 8 * offset & BITS(8 * size - 1, 0);
}

static void window_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    (void)window_read(device, vcpu, offset, size);
    window_value = value & BITS(8 * size - 1, 0);
}

static const struct bus_ops window_ops = {
    .name = "window", .read = window_read, .write = window_write};

static void capabilities(void **state)
{
    (void)state;
    static struct pci_function f;
    const struct pci_identity identity = {.vendor = 1};
    pci_function_init(&f, "caps", &identity);
    assert_int_equal(pci_add_capability(&f, 9, "abcdefghijklmn", 14), 0x40);
    assert_int_equal(pci_add_capability(&f, 5, "xyz", 3), 0x50);
    assert_int_equal(pci_add_capability(&f, 9, "abcdefghijklmn", 14), 0x58);
    pci_make_writable(&f, 0x44, 3);
    pci_add_window(&f, 0x60, &window_ops, &f);
    const unsigned devfn = PCI_DEVFN(30, 0);
    assert_int_equal(pci_add(&host, &f, devfn), 0);
    const uint64_t at = (uint64_t)devfn << 12;
    assert_int_equal(config(at + 0x34, 1), 0x40);
    assert_int_equal(config(at + 0x40, 4), 0x62615009);
    assert_int_equal(config(at + 0x50, 8), 0x7a79785805);
    assert_int_equal(config(at + 0x58, 2), 9);
    set_config(at + 0x40, 8, 0);
    assert_int_equal(config(at + 0x40, 8), 0x6600000062615009);
    assert_int_equal(config(at + 0x60, 4), 0x55667788);
    assert_int_equal(config(at + 0x62, 2), 0x5566);
    assert_int_equal(window_offset, 2);
    set_config(at + 0x61, 1, 0x1234);
    assert_int_equal(window_offset, 1);
    assert_int_equal(window_value, 0x34);
    set_config(at + 0x5c, 8, 0x1122334455667788); /* the second half */
    assert_int_equal(window_offset, 0);
    assert_int_equal(window_value, 0x11223344);
}

/* ---- BARs ------------------------------------------------------------------------------------ */

static void sizing(void **state)
{
    (void)state;
    static const struct {
        unsigned f, bar;
        uint32_t mask;
    } rows[] = {{0, 0, 0xfffff000}, {0, 1, 0xfffff000}, {0, 2, 0xffffc004}, {0, 3, 0xffffffff},
                {0, 4, 0},          {0, 5, 0},          {1, 0, 0xffffe000}, {1, 1, 0},
                {1, 5, 0xfffffff0}, {2, 0, 0xfff00004}, {2, 1, 0xffffffff}, {2, 5, 0xfffff000}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        enable(rows[i].f);
        set_config(AT(rows[i].f, 0x10 + 4 * rows[i].bar), 4, ~0u);
        assert_int_equal(config(AT(rows[i].f, 0x10 + 4 * rows[i].bar), 4), rows[i].mask);
    }
    assert_string_equal(support_log(), ""); /* although the memory spaces are enabled */
}

/* The firmware's places: aligned, in the window, and apart from each other. */
static void the_first_places(void **state)
{
    (void)state;
    uint64_t sum = 0;
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        assert_int_equal(bus_read(&bus, NULL, models[f].bar[0], 8), ~0ull); /* not enabled */
        enable(f);
    }
    for (uint64_t at = WINDOW; at < host.next; at += 16) {
        world_check_address(at);
        sum += model_read(at) == ~0ull ? 0 : 16;
    }
    assert_int_equal(sum, 0x1000 + 0x1000 + 0x4000 + 0x2000 + 16 + 0x100000 + 0x1000 + 0x1000);
}

/* Where a BAR is decoded, and where it is not: at the ends of the window, over others, and at the
 * ends of all address widths. */
static void places(void **state)
{
    (void)state;
    static const struct {
        uint64_t at;
        bool decoded;
    } rows[] = {{WINDOW, true},
                {WINDOW - 0x4000, false},
                {WINDOW + WINDOW_SIZE - 0x4000, true},
                {WINDOW + WINDOW_SIZE, false},
                {ECAM, false},
                {0xfee00000, false},
                {0xfec00000, false},
                {0, false},
                {0x100000, false},
                {0xffffc000, false},
                {WINDOW | BIT(32), false},
                {WINDOW | BIT(39), false},
                {WINDOW | BIT(51), false},
                {WINDOW | BIT(52), false},
                {WINDOW | BIT(63), false},
                {BIT(52) - 0x4000, false},
                {~0x3fffull, false},
                {WINDOW + 0x10000, true}};
    set_config(AT(0, 0x10), 8, (uint64_t)(WINDOW + 0x900000) << 32 | (WINDOW + 0x901000));
    models[0].bar[0] = WINDOW + 0x901000;
    models[0].bar[1] = WINDOW + 0x900000;
    enable(0);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const uint64_t sequence = bus.sequence, at = rows[i].at;
        const bool was = functions[0].bars[2].decoded != BUS_NOWHERE;
        set_config(AT(0, 0x18), 8, at); /* both halves */
        assert_int_equal(config(AT(0, 0x18), 8), at | 4);
        models[0].bar[2] = at;
        world_check();
        assert_int_equal(functions[0].bars[2].decoded, rows[i].decoded ? at : BUS_NOWHERE);
        assert_true(bus.sequence != sequence || (!was && !rows[i].decoded));
        if (rows[i].decoded)
            assert_int_equal(bus_read(&bus, NULL, at + 8, 8), 3ull << 32 | 8);
        assert_int_equal(bus_read(&bus, NULL, 0xfee00000, 4), 0x7e25);
        assert_int_equal(bus_read(&bus, NULL, 0xfec00000, 4), 0x7e25);
        assert_int_equal(bus_read(&bus, NULL, ECAM | AT(0, 0), 4), 0x0100abcd);
    }
    const char *log = support_log(); /* one line */
    assert_string_equal(strchr(log, '\n'), "\n");
    assert_non_null(strstr(log, "pci 0:1.0 (probe): BAR 2 is at 0xe00fc000, but the host bridge "
                                "forwards 0xe0100000-0xfbffffff only"));
}

/* A move is one change of the bus, whatever it moves, and what does not move changes nothing. */
static void the_sequence(void **state)
{
    (void)state;
    uint64_t before = bus.sequence;
    enable(0);
    assert_int_equal(bus.sequence, before + 2);
    set_config(AT(0, 0x10), 4, WINDOW + 0x800000);
    assert_int_equal(bus.sequence, before + 4);
    set_config(AT(0, 0x10), 4, WINDOW + 0x800000);
    set_config(AT(0, COMMAND), 2, MEMORY);
    set_config(AT(0, 0x3c), 1, 0);
    assert_int_equal(bus.sequence, before + 4);
    set_config(AT(0, COMMAND), 2, 0);
    assert_int_equal(bus.sequence, before + 6);
}

/* The addresses on the bus of a VM that has a shared bit. */
static void shared_addresses(void **state)
{
    (void)state;
    world_init(BIT(39));
    enable(0);
    assert_int_equal(bus_read(&bus, NULL, models[0].bar[0] | BIT(39), 8), 1ull << 32);
    assert_int_equal(bus_read(&bus, NULL, models[0].bar[0], 8), ~0ull);
}

static void refusals(void **state)
{
    (void)state;
    static struct pci_function f;
    const struct pci_identity identity = {.vendor = 1};
    pci_function_init(&f, "another", &identity);
    assert_int_equal(pci_add(&host, &f, shapes[0].devfn), -EEXIST);
    assert_non_null(strstr(support_log(), "another and probe both want to be function 0 of "
                                          "device 1"));
    pci_add_bar(&f, 3, PCI_BAR_32, 0x20000000, &probe_ops, NULL);
    assert_int_equal(pci_add(&host, &f, PCI_DEVFN(3, 0)), -ENOSPC);
    assert_non_null(strstr(support_log(), "no room for BAR 3 of another, of 0x20000000 bytes"));
    assert_null(host.functions[PCI_DEVFN(3, 0)]);
    static struct pci_function many[PCI_DEVICES];
    unsigned bars = 8, device = 2; /* the functions of this world have 8 BARs */
    for (int error = 0; !error; device += device == 8 ? 2 : 1) {
        pci_function_init(&many[device], "many", &identity);
        pci_add_bar(&many[device], 4, PCI_BAR_32, 16, &probe_ops, NULL);
        error = pci_add(&host, &many[device], PCI_DEVFN(device, 0));
        assert_int_equal(error, bars++ < PCI_REGIONS ? 0 : -ENOSPC);
    }
    assert_int_equal(bars, PCI_REGIONS + 1);
}

/* ---- Random sequences ------------------------------------------------------------------------ */

static void random_sequences(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        random_state = round;
        world_init(0);
        for (unsigned i = 0; i < 500; i++)
            world_step((uint8_t)take(1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(both_mechanisms_lead_to_the_same, setup),
        cmocka_unit_test_setup(the_address_register, setup),
        cmocka_unit_test_setup(the_host_bridge, setup),
        cmocka_unit_test_setup(every_bit, setup),
        cmocka_unit_test_setup(the_status_is_cleared_by_ones, setup),
        cmocka_unit_test_setup(capabilities, setup),
        cmocka_unit_test_setup(sizing, setup),
        cmocka_unit_test_setup(the_first_places, setup),
        cmocka_unit_test_setup(places, setup),
        cmocka_unit_test_setup(the_sequence, setup),
        cmocka_unit_test_setup(shared_addresses, setup),
        cmocka_unit_test_setup(refusals, setup),
        cmocka_unit_test_setup(random_sequences, setup),
    };
    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
