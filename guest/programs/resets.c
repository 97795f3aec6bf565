/* SPDX-License-Identifier: MIT */
/*
 * Resets its VM, which has the words `pc`, `vcpus=2` and `reset=again`, and then tests that
 * everything is as at the first start. What it prints, the time, and what it has written to its
 * disk, if it has one, are all that survives.
 *
 * A person or a test types what it does next: `c` resets by port 0xcf9, `k` by the keyboard
 * controller's port, and `q` ends the VM. With the argument `endless` it resets its VM at once.
 */
#include "guest/programs/disk/driver.h"
#include "guest/programs/rt/smp.h"

#define UART_LSR     (PORT_UART + 5)
#define UART_SCRATCH (PORT_UART + 7)
#define LSR_RECEIVED 0x01
#define IOAPIC       0xfec00000u
#define IOAPIC_ENTRY 0x10u /* register of the first entry */
#define ENTRY_MASK   BIT(16)
#define RESET_SYSTEM 0x02
#define RESET_CPU    0x04
#define KEYBOARD_FE  0xfe
#define FAR          0x1000000u /* RAM beyond the program */
#define PATTERN      0x5a
#define COUNTER      9u /* the sector */

static volatile uint32_t marker, loaded = 7; /* in .bss and in .data */

static uint32_t io_read(uint8_t reg)
{
    write32(IOAPIC, reg);
    return read32(IOAPIC + 0x10);
}

static void fresh_memory(void)
{
    EXPECT_EQ(marker, 0);
    EXPECT_EQ(loaded, 7);
    EXPECT_EQ(read32(FAR), 0);
    EXPECT_EQ(read32(FAR + 0x200000), 0);
    marker = loaded = PATTERN;
    write32(FAR, PATTERN);
    write32(FAR + 0x200000, PATTERN);
}

static void fresh_devices(void)
{
    EXPECT_EQ(inb(UART_SCRATCH), 0);
    EXPECT_EQ(io_read(IOAPIC_ENTRY), ENTRY_MASK);
    EXPECT_EQ(inb(PORT_RESET), 0);
    EXPECT_EQ(apic_read(APIC_REG_SVR), 0xff);
    EXPECT_EQ(apic_read(APIC_REG_TPR), 0);
    outb(UART_SCRATCH, PATTERN);
    write32(IOAPIC, IOAPIC_ENTRY);
    write32(IOAPIC + 0x10, PATTERN);
    outb(PORT_RESET, RESET_SYSTEM);
    apic_write(APIC_REG_TPR, PATTERN);
}

static void spin(void)
{
    for (;;)
        pause();
}

/* The other CPU has to be started in each life, and is still running when the VM is reset. */
static void fresh_cpus(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    if (EXPECT(start_cpus(1, 1)))
        run_on(1, spin);
}

static bool transfer(uint32_t type, uint64_t sector)
{
    uint16_t end = (uint16_t)(used.index + 1);
    disk_request(type, sector, SECTOR);
    disk_offer(1);
    disk_set_reg(QUEUE_NOTIFY, 0);
    for (unsigned i = 0; i < 1000000 && used.index != end; i++)
        pause();
    return used.index == end && !status;
}

/* Counts the starts in the first byte of a sector of the disk. */
static void kept_disk(void)
{
    EXPECT_EQ(disk_reg(STATUS), 0);
    disk_start(0);
    if (!EXPECT(transfer(0, COUNTER)))
        return;
    note("starts", buffer[0]);
    buffer[0]++;
    EXPECT(transfer(1, COUNTER));
}

static char read_key(void)
{
    while (!(inb(UART_LSR) & LSR_RECEIVED))
        pause();
    return (char)inb(PORT_UART);
}

static void reset_by_cf9(void)
{
    outb(PORT_RESET, RESET_SYSTEM);
    outb(PORT_RESET, RESET_SYSTEM | RESET_CPU);
}

static void typed(void)
{
    print("# ready\n");
    char key = read_key();
    if (key == 'c')
        reset_by_cf9();
    else if (key == 'k')
        outb(PORT_KEYBOARD, KEYBOARD_FE);
    EXPECT_EQ(key, 'q'); /* otherwise the machine goes on after a reset */
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"fresh_memory", fresh_memory, 0},
        {"fresh_devices", fresh_devices, 0},
        {"fresh_cpus", fresh_cpus, 0},
        {"kept_disk", kept_disk, 0},
        {"typed", typed, 0},
    };
    if (rt_args[0] == 'e')
        reset_by_cf9();
    run_tests(tests, ARRAY_SIZE(tests));
}
