/* SPDX-License-Identifier: MIT */
/*
 * The PCI bus, used as drivers use it and as they should not: the configuration spaces by both
 * mechanisms, BARs that are sized, moved, and put where they may not be, MSI-X and INTA#, and three
 * CPUs that move a BAR and access it at the same time.
 */
#include "guest/programs/pci/config.h"

#define PIN         (16u + PCI_TEST_DEVICE % 8)
#define ENTRY_LEVEL BIT(15)
#define ENTRY_MASK  BIT(16)

/* ---- Configuration spaces -------------------------------------------------------------------- */

/* Each doubleword of each function, by both mechanisms: the same, and all ones where there is no
 * function. */
static void mechanisms(void)
{
    unsigned functions = 0;
    for (uint32_t f = ECAM; f < WINDOW; f += 0x1000) {
        uint32_t identity = read32(f);
        bool there = identity != ABSENT;
        functions += there;
        for (unsigned at = 0; at < (there ? 0x100u : 8u); at += 4) {
            uint32_t word = read32(f + at);
            if (!there)
                EXPECT_EQ(word, ABSENT);
            EXPECT_EQ(port_config_read(f + at, 4), word);
        }
        if (there)
            EXPECT_EQ(read32(f + 0x100), 0); /* no extended capability */
    }
    EXPECT_EQ(read32(TEST_0), PCI_TEST_ID << 16 | PCI_TEST_VENDOR);
    EXPECT_EQ(read32(TEST_1), (PCI_TEST_ID + 1) << 16 | PCI_TEST_VENDOR);
    EXPECT_EQ(read32(ECAM + 8) >> 8, 0x060000); /* the host bridge */
    note("functions", functions);
}

/* The bytes of the interrupt line, the pin and what is around them, in every size. */
static void sizes(void)
{
    for (unsigned at = 0x38; at < 0x40; at++)
        for (unsigned size = 1; size <= 4 && at % 4 + size <= 4; size *= 2) {
            uint32_t want = (uint32_t)(read64(TEST_0 + 0x38) >> 8 * (at - 0x38));
            want &= size == 4 ? ~0u : (1u << 8 * size) - 1;
            EXPECT_EQ(port_config_read(TEST_0 + at, size), want);
            EXPECT_EQ(config_read(TEST_0 + at, size), want);
        }
    uint32_t before = config_read(TEST_0 + 0x3c, 4);
    port_config_write(TEST_0 + 0x3c, 4, 0xffffff5a);
    EXPECT_EQ(config_read(TEST_0 + 0x3c, 4), (before & ~0xffu) | 0x5a);
    config_write(TEST_0 + 0x3c, 2, 0xffa5);
    EXPECT_EQ(port_config_read(TEST_0 + 0x3c, 4), (before & ~0xffu) | 0xa5);
    port_config_write(TEST_0 + 0x3c, 1, before);
    EXPECT_EQ(config_read(TEST_0 + 0x3c, 4), before);
}

/* The address register takes doublewords only. The reset register between its bytes is another. */
static void address_register(void)
{
    outl(PORT_PCI_ADDRESS, ABSENT);
    EXPECT_EQ(inl(PORT_PCI_ADDRESS), 0x80fffffc);
    outb(PORT_PCI_ADDRESS, 0x12);
    outb(PORT_RESET, 2); /* of a kind that needs bit 2 to act */
    outb(PORT_PCI_ADDRESS + 2, 0x12);
    EXPECT_EQ(inl(PORT_PCI_ADDRESS), 0x80fffffc);
    EXPECT_EQ(inb(PORT_RESET), 2);
    EXPECT_EQ(inb(PORT_PCI_ADDRESS), 0xff);
    outl(PORT_PCI_ADDRESS, 0);
    EXPECT_EQ(inl(PORT_PCI_DATA), ABSENT); /* not enabled */
    outl(PORT_PCI_ADDRESS, 0x80010000);
    EXPECT_EQ(inl(PORT_PCI_DATA), ABSENT); /* bus 1 */
    EXPECT_EQ(inb(PORT_RESET), 2);
    outl(PORT_PCI_ADDRESS, 0x80000000);
    EXPECT_EQ(inl(PORT_PCI_DATA), read32(ECAM));
}

static void header(void)
{
    EXPECT_EQ(config_read(TEST_0 + 0xe, 1), 0x80); /* one of several functions */
    EXPECT_EQ(config_read(TEST_1 + 0xe, 1), 0x80);
    EXPECT_EQ(config_read(ECAM + 0xe, 1), 0);
    config_write(TEST_0, 4, 0);
    EXPECT_EQ(read32(TEST_0), PCI_TEST_ID << 16 | PCI_TEST_VENDOR);
    config_write(TEST_0 + REG_COMMAND, 2, 0xffff);
    EXPECT_EQ(config_read(TEST_0 + REG_COMMAND, 2), 0x546);
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_MEM | COMMAND_BUS);
    write32(registers_0 + PCI_TEST_ABORT, 0);
    EXPECT_EQ(config_read(TEST_0 + REG_STATUS, 2), STATUS_ABORT | BIT(4));
    config_write(TEST_0 + REG_STATUS, 2, (uint32_t)~STATUS_ABORT);
    EXPECT_EQ(config_read(TEST_0 + REG_STATUS, 2), STATUS_ABORT | BIT(4));
    config_write(TEST_0 + REG_STATUS, 2, STATUS_ABORT);
    EXPECT_EQ(config_read(TEST_0 + REG_STATUS, 2), BIT(4));
    EXPECT_EQ(find_capability(TEST_1, 0x11), 0);
    uint32_t msix = find_capability(TEST_0, 0x11);
    if (!EXPECT(msix))
        return;
    EXPECT_EQ(config_read(msix + 2, 2), PCI_TEST_VECTORS - 1);
    EXPECT_EQ(config_read(msix + 4, 4), 1);
    EXPECT_EQ(config_read(msix + 8, 4), 0x801);
}

/* ---- BARs ------------------------------------------------------------------------------------ */

static uint32_t size_of(uint32_t function, unsigned bar)
{
    uint32_t before = config_read(function + REG_BAR(bar), 4);
    set_bar(function, bar, ABSENT);
    uint32_t mask = config_read(function + REG_BAR(bar), 4);
    set_bar(function, bar, before);
    EXPECT_EQ(config_read(function + REG_BAR(bar), 4), before);
    return ~(mask & ~0xfu) + 1;
}

static void sizing(void)
{
    EXPECT_EQ(size_of(TEST_0, 0), PCI_TEST_SIZE);
    EXPECT_EQ(size_of(TEST_0, 1), 0x1000);
    EXPECT_EQ(size_of(TEST_0, 2), PCI_TEST_WIDE_SIZE);
    EXPECT_EQ(config_read(TEST_0 + REG_BAR(2), 4) & 0xf, 4); /* 64 bits wide */
    EXPECT_EQ(size_of(TEST_0, 3), 16);                       /* its upper half, all of it */
    EXPECT_EQ(size_of(TEST_0, 4), 0);                        /* no BAR */
    EXPECT_EQ(size_of(TEST_1, 0), PCI_TEST_SIZE);
    EXPECT_EQ(size_of(TEST_1, 1), 0);
}

static void moves(void)
{
    move_to(WINDOW + 0x100000);
    move_to(WINDOW_END - 0x1000);
    config_write(TEST_0 + REG_COMMAND, 2, 0);
    EXPECT_EQ(hot_read(registers_0), ABSENT);
    EXPECT_EQ(hot_read(wide_0 + 8), ABSENT);
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_MEM | COMMAND_BUS);
    EXPECT(hot_read(registers_0) != ABSENT);
    EXPECT_EQ(hot_read(wide_0 + 8), 8);
    EXPECT_EQ(hot_read(wide_0 + PCI_TEST_WIDE_SIZE - 4), PCI_TEST_WIDE_SIZE - 4);
    config_write(TEST_0 + REG_BAR(3), 4, 1); /* beyond 4 GiB */
    EXPECT_EQ(hot_read(wide_0 + 8), ABSENT);
    config_write(TEST_0 + REG_BAR(3), 4, 0);
    EXPECT_EQ(hot_read(wide_0 + 8), 8);
}

/* Places that belong to others, whose owners stay: RAM, the configuration spaces, both APICs, the
 * test devices, what is near the end of the window, and the ends of all address widths. */
static void places_of_others(void)
{
    static uint32_t ram[2048] __attribute__((aligned(4096)));
    const uint32_t places[] = {(uint32_t)(uintptr_t)ram,
                               ECAM,
                               ECAM + 0xff000,
                               WINDOW_END,
                               IOAPIC,
                               APIC,
                               TESTDEV_A_BASE,
                               0xfffff000,
                               0,
                               0xa0000,
                               0xe0000};
    uint32_t apic = apic_read(APIC_REG_VERSION), tested = read32(TESTDEV_A_BASE + TESTDEV_IDENT);
    write32(IOAPIC, 1);
    ram[0] = 0x600d;
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        set_bar(TEST_0, 0, places[i]);
        write32(registers_0, 5); /* nobody's */
        EXPECT_EQ(hot_read((uintptr_t)ram), 0x600d);
        EXPECT_EQ(hot_read(TEST_0), PCI_TEST_ID << 16 | PCI_TEST_VENDOR);
        EXPECT_EQ(apic_read(APIC_REG_VERSION), apic);
        EXPECT_EQ(hot_read(IOAPIC + 0x10), 0x170020);
        EXPECT_EQ(hot_read(TESTDEV_A_BASE + TESTDEV_IDENT), tested);
        EXPECT_EQ(hot_read(registers_0), ABSENT);
    }
    set_bar(TEST_0, 0, registers_0);
    for (unsigned bit = 0; bit < 32; bit++) { /* up to bit 63 of the address */
        config_write(TEST_0 + REG_BAR(3), 4, 1u << bit);
        EXPECT_EQ(hot_read(wide_0), ABSENT);
        EXPECT_EQ(config_read(TEST_0 + REG_BAR(3), 4), 1u << bit);
    }
    config_write(TEST_0 + REG_BAR(3), 4, 0);
    EXPECT_EQ(hot_read(wide_0 + 16), 16);
}

/* Where BARs overlap, the lowest function and the lowest BAR answers, and the others come back when
 * it leaves. */
static void overlaps(void)
{
    write32(registers_0, 10);
    write32(registers_1, 11);
    set_bar(TEST_1, 0, wide_0 + 0x1000);
    EXPECT_EQ(hot_read(wide_0 + 0x1000), 0x1000);
    set_bar(TEST_0, 0, wide_0 + 0x1000);
    EXPECT_EQ(hot_read(wide_0 + 0x1000), 10);
    EXPECT_EQ(hot_read(wide_0 + 0xffc), 0xffc);
    EXPECT_EQ(hot_read(wide_0 + 0x2000), 0x2000);
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_BUS);
    EXPECT_EQ(hot_read(wide_0 + 0x1000), 11);
    EXPECT_EQ(hot_read(wide_0 + 0x2000), ABSENT);
    set_bar(TEST_0, 0, registers_0);
    set_bar(TEST_1, 0, registers_1);
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_MEM | COMMAND_BUS);
    EXPECT_EQ(hot_read(registers_1), 11);
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

static void msix(void)
{
    const uint32_t control = find_capability(TEST_0, 0x11);
    for (unsigned i = 0; i < PCI_TEST_VECTORS; i++) {
        EXPECT_EQ(read32(table_0 + 16 * i + 12), 1);
        set_vector(i, 0, i == 1);
    }
    config_write(control, 4, (uint32_t)MSIX_ON);
    for (unsigned i = 0; i < PCI_TEST_VECTORS; i++) {
        raise(i);
        EXPECT_EQ(take_count(i), i != 1);
    }
    raise(1);
    EXPECT_EQ(pending(), 2);
    write64(table_0 + 16 + 8, VECTOR + 1); /* unmasks it */
    EXPECT_EQ(pending(), 0);
    EXPECT_EQ(take_count(1), 1);

    config_write(control, 4, (uint32_t)(MSIX_ON | MSIX_MASK_ALL));
    raise(0);
    raise(3);
    EXPECT_EQ(take_count(0), 0);
    EXPECT_EQ(pending(), 9);
    write32(table_0 + 0x800, 0); /* the PBA is read-only */
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_MEM);
    config_write(control, 4, (uint32_t)MSIX_ON);
    EXPECT_EQ(pending(), 9); /* a message is a write to memory, which it may not make */
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_MEM | COMMAND_BUS);
    EXPECT_EQ(pending(), 0);
    EXPECT_EQ(take_count(0), 1);
    EXPECT_EQ(take_count(3), 1);
    raise(PCI_TEST_VECTORS); /* no such vector */
    raise(32);
    config_write(control, 4, 0);
    raise(2);
    EXPECT_EQ(take_count(2), 0);
    config_write(control, 4, (uint32_t)MSIX_ON);
    EXPECT_EQ(take_count(2), 1);
    config_write(control, 4, 0);
}

static uint32_t io_apic(uint8_t reg)
{
    write32(IOAPIC, reg);
    return read32(IOAPIC + 0x10);
}

static void route(uint32_t entry)
{
    write32(IOAPIC, 0x10 + 2 * PIN + 1);
    write32(IOAPIC + 0x10, 0);
    write32(IOAPIC, 0x10 + 2 * PIN);
    write32(IOAPIC + 0x10, entry);
}

/* A level: the interrupt comes again after each EOI until the device lowers it. Two functions share
 * the wire. */
static void intx(void)
{
    const uint32_t control = find_capability(TEST_0, 0x11);
    route((uint32_t)ENTRY_LEVEL | VECTOR);
    keep_line = 3;
    write32(registers_0 + PCI_TEST_LEVEL, 1);
    EXPECT_EQ(config_read(TEST_0 + REG_STATUS, 2) & STATUS_INTX, STATUS_INTX);
    EXPECT_EQ(take_count(0), 3);
    EXPECT_EQ(config_read(TEST_0 + REG_STATUS, 2) & STATUS_INTX, 0);

    write32(registers_0 + PCI_TEST_LEVEL, 1);
    write32(registers_1 + PCI_TEST_LEVEL, 1);
    write32(registers_0 + PCI_TEST_LEVEL, 0);
    keep_line = 2;
    EXPECT_EQ(take_count(0), 2); /* by function 1 */

    config_write(TEST_1 + REG_COMMAND, 2, COMMAND_MEM | COMMAND_INTX);
    write32(registers_1 + PCI_TEST_LEVEL, 1);
    EXPECT_EQ(config_read(TEST_1 + REG_STATUS, 2) & STATUS_INTX, STATUS_INTX);
    EXPECT_EQ(take_count(0), 0);
    keep_line = 1;
    config_write(TEST_1 + REG_COMMAND, 2, COMMAND_MEM);
    EXPECT_EQ(take_count(0), 1);

    config_write(control, 4, (uint32_t)MSIX_ON); /* instead of INTA# */
    write32(registers_0 + PCI_TEST_LEVEL, 1);
    EXPECT_EQ(take_count(0), 0);
    keep_line = 1;
    config_write(control, 4, 0);
    EXPECT_EQ(take_count(0), 1);
    EXPECT_EQ(io_apic(0x10 + 2 * PIN) & BIT(14), 0);
    route((uint32_t)ENTRY_MASK);
}

/* ---- Another CPU ----------------------------------------------------------------------------- */

static volatile bool stop;

static void receive(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    __asm__ volatile("sti" : : : "memory");
    while (!stop)
        pause();
    __asm__ volatile("cli" : : : "memory");
}

/* A message to another CPU. */
static void msix_to_another_cpu(void)
{
    const uint32_t control = find_capability(TEST_0, 0x11);
    if (!EXPECT(start_cpus(1, 2)))
        return;
    run_on(1, receive);
    config_write(control, 4, (uint32_t)MSIX_ON);
    set_vector(0, apic_id_of(1), false);
    for (unsigned i = 0; i < 5; i++) {
        raise(0);
        for (uint64_t end = rdtsc() + 10000000; taken[1][0] <= i && rdtsc() < end;)
            pause();
        EXPECT_EQ(taken[1][0], i + 1);
    }
    config_write(control, 4, 0);
    stop = true;
    EXPECT(finished(1));
    EXPECT_EQ(taken[0][0], 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"mechanisms", mechanisms, 0},
        {"sizes", sizes, 0},
        {"address_register", address_register, 0},
        {"header", header, 0},
        {"sizing", sizing, 0},
        {"moves", moves, 0},
        {"places_of_others", places_of_others, 0},
        {"overlaps", overlaps, 0},
        {"msix", msix, 0},
        {"intx", intx, 0},
        {"msix_to_another_cpu", msix_to_another_cpu, 0},
        {"storm", storm, 0},
        {"harm", harm, 0},
    };

    apic_write(APIC_REG_SVR, 0x1ff);
    for (unsigned i = 0; i < PCI_TEST_VECTORS; i++)
        set_handler(VECTOR + i, take);
    find_test_device();
    run_tests(tests, ARRAY_SIZE(tests));
}
