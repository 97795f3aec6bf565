/* SPDX-License-Identifier: MIT */
/* What no driver should do: several CPUs that move a BAR and access it at the same time, and random
 * accesses to everything that belongs to the test device. */
#include "guest/programs/pci/config.h"

/* ---- A storm of moves ------------------------------------------------------------------------ */

#define ROUNDS 300u
#define PLACES 16u

static volatile bool stop;
static volatile uint64_t hits, strays;

static uint32_t place(unsigned n)
{
    return WINDOW + 0x200000 + n % PLACES * 0x1000;
}

/* Moves the BAR, by the ports, whose address register belongs to this CPU alone. */
static void mover(void)
{
    for (unsigned i = 0; !stop; i++)
        port_config_write(TEST_0 + REG_BAR(0), 4, place(i));
}

/* A read finds the device, or nobody. */
static void reader(void)
{
    for (unsigned i = 0; !stop; i++) {
        uint32_t value = read32(place(i / 4));
        if (value == 0xbeef)
            hits++;
        else if (value != ABSENT)
            strays++;
    }
}

void storm(void)
{
    stop = false;
    write32(registers_0, 0xbeef);
    run_on(1, mover);
    run_on(2, reader);
    for (unsigned i = 0; i < ROUNDS || (!hits && i < 100 * ROUNDS); i++) {
        set_bar(TEST_0, 0, place(7 * i));
        config_write(TEST_0 + REG_COMMAND, 2, i % 8 ? COMMAND_MEM : 0);
    }
    stop = true;
    EXPECT(finished(1));
    EXPECT(finished(2));
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_MEM);
    set_bar(TEST_0, 0, registers_0);
    EXPECT_EQ(hot_read(registers_0), 0xbeef);
    for (unsigned i = 0; i < PLACES; i++)
        EXPECT_EQ(hot_read(place(i)), ABSENT);
    EXPECT_EQ(strays, 0);
    EXPECT(hits > 0);
    note("hits", hits);
}

/* ---- A driver that means harm ---------------------------------------------------------------- */

#define STEPS 500u

static uint64_t random_of[CPUS_MAX];

static uint32_t rnd(void)
{
    uint64_t z = random_of[apic_id()] += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    return (uint32_t)((z ^ z >> 27) * 0x94d049bb133111ebull >> 32);
}

/* Of a BAR, or of anything. */
static uint32_t any_value(void)
{
    static const uint32_t values[] = {WINDOW, ECAM,   WINDOW_END, WINDOW_END - 0x1000, APIC, IOAPIC,
                                      0,      ABSENT, 0x100000,   TESTDEV_A_BASE};
    return rnd() % 3 ? values[rnd() % ARRAY_SIZE(values)] + rnd() % 8 * 0x1000 : rnd();
}

/* Writes to any register of the test device by either mechanism, to the addresses where its BARs
 * may be, and to the MSI-X table, whose messages are interrupts that nobody takes yet. */
static void do_harm(void)
{
    for (unsigned i = 0; i < STEPS; i++) {
        const uint32_t function = rnd() % 2 ? TEST_0 : TEST_1, at = rnd() % 3 ? 0x10 : 0;
        const uint32_t address = function + at + rnd() % (at ? 24 : 256) / 4 * 4;
        switch (rnd() % 8) {
        case 0:
            port_config_write(address + rnd() % 4, 1, rnd());
            break;
        case 1:
            (void)config_read(ECAM + rnd() % 0x100000 / 4 * 4, 4);
            break;
        case 2:
            write32(WINDOW + rnd() % 0x20000 / 4 * 4, 0x20 + rnd() % 0xe0);
            break;
        case 3:
            (void)read32(WINDOW_END - 4 - rnd() % 0x4000 / 4 * 4);
            break;
        case 4:
            set_vector(rnd() % PCI_TEST_VECTORS, rnd() % 4, rnd() % 2);
            write32(registers_0 + PCI_TEST_RAISE, rnd() % 4);
            break;
        case 5:
            config_write(function + REG_COMMAND, 4, rnd());
            break;
        case 6:
            write64(address, (uint64_t)any_value() << 32 | any_value());
            break;
        default:
            config_write(address, 4, any_value());
        }
    }
}

static void drop(struct frame *frame)
{
    (void)frame;
    apic_write(APIC_REG_EOI, 0);
}

static void be_harmful(void)
{
    do_harm();
    let_in(); /* what has arrived */
}

/* Afterwards, all is as before for a driver that sets everything up again. */
void harm(void)
{
    const uint32_t control = find_capability(TEST_0, 0x11);
    for (unsigned vector = 0x20; vector < 0x100; vector++)
        set_handler(vector, drop);
    for (unsigned cpu = 0; cpu < 3; cpu++)
        random_of[cpu] = rdtsc() + cpu;
    run_on(1, be_harmful);
    run_on(2, be_harmful);
    be_harmful();
    EXPECT(finished(1));
    EXPECT(finished(2));
    let_in();
    for (unsigned i = 0; i < PCI_TEST_VECTORS; i++)
        set_handler(VECTOR + i, take);
    config_write(control, 4, 0);
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_MEM | COMMAND_BUS);
    config_write(TEST_1 + REG_COMMAND, 2, 0);
    set_bar(TEST_0, 0, registers_0);
    set_bar(TEST_0, 1, table_0);
    set_bar(TEST_0, 2, wide_0);
    set_bar(TEST_0, 3, 0);
    move_to(WINDOW + 0x100000);
    for (unsigned i = 0; i < PCI_TEST_VECTORS; i++)
        set_vector(i, 0, true);
    config_write(control, 4, (uint32_t)MSIX_ON);
    for (unsigned i = 0; i < PCI_TEST_VECTORS; i++) {
        set_vector(i, 0, false);
        (void)take_count(i); /* what was pending */
        raise(i);
        EXPECT_EQ(take_count(i), 1);
    }
    EXPECT_EQ(pending(), 0);
    config_write(control, 4, 0);
}
