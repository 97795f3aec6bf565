/* SPDX-License-Identifier: MIT */
#include "guest/programs/pci/config.h"

uint32_t registers_0, registers_1, table_0, wide_0;

void outl(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

uint32_t inl(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static uint16_t inw(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static void outw(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/* The port at which the byte of the configuration space that `address` means is accessed now. */
static uint16_t select(uint32_t address)
{
    outl(PORT_PCI_ADDRESS, 1u << 31 | ((address - ECAM) >> 4 & 0xff00) | (address & 0xfc));
    return (uint16_t)(PORT_PCI_DATA + (address & 3));
}

uint32_t port_config_read(uint32_t address, unsigned size)
{
    uint16_t port = select(address);
    return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
}

void port_config_write(uint32_t address, unsigned size, uint32_t value)
{
    uint16_t port = select(address);
    if (size == 1)
        outb(port, (uint8_t)value);
    else if (size == 2)
        outw(port, (uint16_t)value);
    else
        outl(port, value);
}

uint32_t config_read(uint32_t address, unsigned size)
{
    uint16_t word;
    if (size == 4)
        return read32(address);
    if (size == 1)
        return read8(address);
    __asm__ volatile("movw (%1), %0" : "=r"(word) : "r"((uint64_t)address) : "memory");
    return word;
}

void config_write(uint32_t address, unsigned size, uint32_t value)
{
    if (size == 4)
        write32(address, value);
    else if (size == 2)
        __asm__ volatile("movw %0, (%1)"
                         :
                         : "r"((uint16_t)value), "r"((uint64_t)address)
                         : "memory");
    else
        __asm__ volatile("movb %0, (%1)"
                         :
                         : "q"((uint8_t)value), "r"((uint64_t)address)
                         : "memory");
}

uint32_t find_capability(uint32_t function, uint8_t id)
{
    uint32_t at = config_read(function + 0x34, 1);
    for (unsigned i = 0; at && i < 48; i++) {
        if (config_read(function + at, 1) == id)
            return function + at;
        at = config_read(function + at + 1, 1);
    }
    return 0;
}

void find_test_device(void)
{
    registers_0 = config_read(TEST_0 + REG_BAR(0), 4);
    table_0 = config_read(TEST_0 + REG_BAR(1), 4);
    wide_0 = config_read(TEST_0 + REG_BAR(2), 4) & ~0xfu;
    registers_1 = config_read(TEST_1 + REG_BAR(0), 4);
    config_write(TEST_0 + REG_COMMAND, 2, COMMAND_MEM | COMMAND_BUS);
    config_write(TEST_1 + REG_COMMAND, 2, COMMAND_MEM | COMMAND_BUS);
}

/* ---- The test device ------------------------------------------------------------------------- */

volatile unsigned taken[CPUS_MAX][PCI_TEST_VECTORS];
volatile unsigned keep_line;

void set_bar(uint32_t function, unsigned bar, uint32_t value)
{
    config_write(function + REG_BAR(bar), 4, value);
}

/* An access that has been made so often that everything about it is remembered. */
uint32_t hot_read(uint64_t address)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value = read32(address);
    return value;
}

/* Moves BAR 0 from its place to another one and back, and expects it in one place at a time. */
void move_to(uint32_t to)
{
    write32(registers_0, 0x1234 + to);
    EXPECT_EQ(hot_read(registers_0), 0x1234 + to);
    EXPECT_EQ(hot_read(to), ABSENT);
    set_bar(TEST_0, 0, to);
    EXPECT_EQ(hot_read(to), 0x1234 + to);
    EXPECT_EQ(hot_read(registers_0), ABSENT);
    write32(to, 0x4321 + to);
    set_bar(TEST_0, 0, registers_0);
    EXPECT_EQ(hot_read(to), ABSENT);
    EXPECT_EQ(hot_read(registers_0), 0x4321 + to);
}

void take(struct frame *frame)
{
    taken[apic_id()][frame->vector - VECTOR]++;
    if (keep_line && !--keep_line) {
        write32(registers_0 + PCI_TEST_LEVEL, 0);
        write32(registers_1 + PCI_TEST_LEVEL, 0);
    }
    apic_write(APIC_REG_EOI, 0);
}

void let_in(void)
{
    __asm__ volatile("sti" : : : "memory");
    for (uint64_t end = rdtsc() + 200000; rdtsc() < end;)
        pause();
    __asm__ volatile("cli" : : : "memory");
}

/* How many interrupts of a vector this CPU has taken since the last call. */
unsigned take_count(unsigned vector)
{
    let_in();
    unsigned count = taken[0][vector];
    taken[0][vector] = 0;
    return count;
}

void set_vector(unsigned vector, uint32_t destination, bool masked)
{
    const uint32_t entry = table_0 + 16 * vector;
    write32(entry, 0xfee00000 | destination << 12);
    write32(entry + 4, 0);
    write32(entry + 8, VECTOR + vector);
    write32(entry + 12, masked);
}

uint32_t pending(void)
{
    return read32(table_0 + 0x800);
}

void raise(unsigned vector)
{
    write32(registers_0 + PCI_TEST_RAISE, vector);
}
