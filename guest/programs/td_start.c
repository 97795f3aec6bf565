/* SPDX-License-Identifier: MIT */
/*
 * What the boot shim of a TD leaves behind: the state at Linux' 64-bit entry point, the zero page,
 * the memory, and the CPUs that wait for the mailbox. Argument `sparse`: it looks at some pages
 * only. Argument `reset`: at the end it resets its VM.
 */
#include "guest/programs/rt/acpi.h"
#include "guest/programs/rt/td.h"

#define SHIM          0xffff0000u /* to 4 GiB */
#define ACPI_TABLES   0xe0000u
#define CR4_MCE       BIT(6)
#define EFER_BITS     (BIT(8) | BIT(10) | BIT(11)) /* LME, LMA, NXE */
#define MSR_EFER      0xc0000080u
#define EFI_64        0x34364c45u /* "EL64" */
#define TDCALL_ACCEPT 6
#define PATIENCE      100000000ull /* ticks */
#define RESETS        50000000ull

extern uint32_t rt_boot_info, rt_boot_magic;
extern uint8_t rt_image_start[], rt_image_end[];

static const uint8_t *zero_page(void)
{
    return (const uint8_t *)(uintptr_t)rt_boot_info;
}

static void state_at_the_entry(void)
{
    EXPECT(rt_is_td);
    EXPECT_EQ(rt_boot_magic, LINUX_PROTOCOL);
    EXPECT_EQ(read_cr4() & CR4_MCE, CR4_MCE);
    EXPECT_EQ(rdmsr(MSR_EFER) & EFER_BITS, EFER_BITS);
}

struct range {
    uint64_t base, size;
    uint32_t kind;
} __attribute__((packed));

/* The tables and the shim are of types 3 and 4, which a TD's Linux maps as private memory. */
static void the_zero_page(void)
{
    const struct range *map = (const void *)(zero_page() + 0x2d0);
    uint64_t end = 0, tables = 0, shim = 0;
    EXPECT_EQ(read64(rt_boot_info + 0x70), ACPI_TABLES);
    EXPECT_EQ(read64(rt_boot_info), 0); /* screen_info */
    for (unsigned i = 0; i < zero_page()[0x1e8]; i++) {
        EXPECT(map[i].base >= end);
        end = map[i].base + map[i].size;
        tables += map[i].base == ACPI_TABLES && map[i].kind == 3;
        shim += map[i].base == SHIM && end == BIT(32) && map[i].kind == 4;
    }
    EXPECT_EQ(tables, 1);
    EXPECT_EQ(shim, 1);
    EXPECT_EQ(acpi_rsdp(), ACPI_TABLES);
    EXPECT(acpi_table("FACP"));
    EXPECT(acpi_table("APIC"));
}

/* Whether the boot information, the tables or the program are in the page. */
static bool is_used(uint64_t page)
{
    return (page >= (rt_boot_info & ~0xfffull) && page < rt_boot_info + 5 * RT_PAGE) ||
           page == ACPI_TABLES ||
           (page >= (uint64_t)rt_image_start && page < (uint64_t)rt_image_end);
}

static uint64_t accept(uint64_t gpa, unsigned level)
{
    struct td_registers registers = {.rax = TDCALL_ACCEPT, .rcx = gpa | level};
    execute_tdcall(&registers);
    return registers.rax;
}

/* Accepts 2 MiB, as Linux does: in small pages if the host has provided such. Returns the number of
 * pages of 4 KiB that were accepted: 512, unless some were accepted before. */
static unsigned accept_unit(uint64_t gpa)
{
    unsigned pages = 0;
    if (!accept(gpa, 1))
        return 512;
    for (uint64_t at = gpa; at < gpa + RT_2M; at += RT_PAGE)
        pages += !accept(at, 0);
    return pages;
}

/* With `accept=lazy` the EFI tables have a bit for each 2 MiB that the shim has not accepted;
 * without it, there are none. */
static void the_rest_can_be_accepted(void)
{
    const uint64_t system = read32(rt_boot_info + 0x1c4);
    uint64_t units = 0;
    if (read32(rt_boot_info + 0x1c0) == EFI_64 && EXPECT_EQ(read64(system + 104), 1)) {
        const uint64_t table = read64(read64(system + 112) + 16);
        EXPECT_EQ(read32(table + 4), RT_2M);
        for (uint64_t i = 0; i < read64(table + 16) * 8; i++) {
            if (!(read8(table + 24 + i / 8) >> i % 8 & 1))
                continue;
            EXPECT_EQ(accept_unit(i * RT_2M), 512);
            units++;
        }
        EXPECT(units > 0);
    }
    note("units", units);
}

/* Returns whether a page that can be written was zero, and writes to it, so that it is seen if the
 * page outlives a reset. */
static bool is_zero(uint64_t va)
{
    bool zero = !read64(va) && !read64(va + 8) && !read64(va + RT_PAGE - 8);
    write64(va + 8, va);
    return zero;
}

/* With the argument `sparse`, only some pages are looked at, so that large memory is not needed. */
static uint64_t step(void)
{
    return rt_args[0] == 's' ? 37 * RT_PAGE * 1024 : RT_PAGE;
}

/* All of it can be used, and it is zero except for what was loaded. */
static void memory_is_accepted(void)
{
    uint64_t pages = 0, dirty = 0;
    for (uint64_t page = 0; page < rt_ram_end; page += step()) {
        if (page >= 0xa0000 && page < 0xc0000)
            continue;
        pages++;
        dirty += !is_used(page) && !is_zero(page);
    }
    EXPECT_EQ(dirty, 0);
    note("pages", pages);
}

/* The RAM from 4 GiB on, if there is any: the first, the last and some other pages. */
static void high_memory_is_accepted(void)
{
    const struct range *map = (const void *)(zero_page() + 0x2d0);
    uint64_t pages = 0;
    for (unsigned i = 0; i < zero_page()[0x1e8]; i++) {
        const uint64_t end = map[i].base + map[i].size;
        if (map[i].kind != 1 || map[i].base < BIT(32))
            continue;
        EXPECT_EQ(map[i].base, BIT(32));
        for (uint64_t page = map[i].base; page < end - RT_PAGE; page += step(), pages++) {
            map_page(rt_pml4, TEST_VA + page, page, PTE_P | PTE_W);
            EXPECT(is_zero(TEST_VA + page));
        }
        map_page(rt_pml4, TEST_VA + end - RT_PAGE, end - RT_PAGE, PTE_P | PTE_W);
        EXPECT(is_zero(TEST_VA + end - RT_PAGE));
    }
    note("pages", pages);
}

/* ---- The mailbox (ACPI 6.5, 5.2.12.19) ------------------------------------------------------- */

#define MADT_ENTRIES 44u
#define MADT_WAKEUP  0x10u
#define CPUS         16u

void wake_entry(void);
extern volatile uint32_t wake_arrived, wake_noted;
extern const volatile struct {
    uint32_t index, cs;
    uint64_t rflags, cr0, cr3, cr4, efer;
} wake_records[CPUS];

static uint64_t find_mailbox(void)
{
    uint64_t madt = acpi_table("APIC"), end = madt + read32(madt + 4);
    for (uint64_t at = madt + MADT_ENTRIES; at < end; at += read8(at + 1))
        if (read8(at) == MADT_WAKEUP)
            return read8(at + 1) == 16 ? read64(at + 8) : 0;
    return 0;
}

static uint64_t mailbox(void)
{
    static uint64_t address;
    if (!address)
        address = find_mailbox();
    return address;
}

static bool wait_until(volatile uint32_t *what, uint32_t value)
{
    for (uint64_t end = rdtsc() + PATIENCE; *what != value;)
        if (rdtsc() > end)
            return false;
    return true;
}

static void write16(uint64_t address, uint16_t value)
{
    __asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

/* Returns whether the CPU has taken the command. */
static bool wake(uint32_t id)
{
    volatile uint32_t *command = (volatile uint32_t *)mailbox();
    write32(mailbox() + 4, id);
    write64(mailbox() + 8, (uint64_t)wake_entry);
    write16(mailbox(), 1);
    return wait_until(command, 0);
}

static void the_mailbox_wakes_no_other(void)
{
    uint64_t end = rdtsc() + PATIENCE / 100;
    if (!EXPECT(mailbox()))
        return;
    EXPECT_EQ(read64(mailbox()), 0);
    write64(mailbox() + 8, (uint64_t)wake_entry);
    for (uint32_t id = 0; id < CPUS; id++)
        write32(mailbox() + 4, id); /* without a command */
    write32(mailbox() + 4, 200);
    write16(mailbox(), 1); /* for a CPU that does not exist */
    while (rdtsc() < end)
        ;
    write16(mailbox(), 2); /* an unknown command, for one that does */
    write32(mailbox() + 4, 1);
    for (end = rdtsc() + PATIENCE / 100; rdtsc() < end;)
        ;
    EXPECT_EQ(read64(mailbox()), BIT(32) | 2);
    EXPECT_EQ(wake_arrived, 0);
    write16(mailbox(), 0);
}

/* So that the CPUs are not in step. */
static void delay(unsigned rounds)
{
    for (volatile unsigned i = 0; i < rounds; i++)
        ;
}

/* The ID is that of a CPU that waits, and the command is there, but never at the same time. */
static void id_and_command_belong_together(void)
{
    const uint64_t at = mailbox();
    for (unsigned i = 0; i < 20000; i++) {
        delay(i % 7);
        write32(at + 4, 1);
        delay(i % 11);
        write32(at + 4, 200);
        write16(at, 1);
        delay(i % 5);
        write16(at, 0);
    }
    EXPECT_EQ(wake_arrived, 0);
}

/* From the last to the first, so that the order is not that in which they wait. */
static void the_mailbox_wakes_each(void)
{
    uint32_t ids[CPUS];
    const unsigned count = madt_cpus(ids, CPUS);
    EXPECT_EQ(ids[0], 0);
    for (unsigned i = count - 1, n = 0; i > 0; i--, n++) {
        if (!EXPECT(wake(ids[i])) || !EXPECT(wait_until(&wake_noted, n + 1)))
            return;
        EXPECT_EQ(wake_arrived, n + 1);
        EXPECT_EQ(wake_records[n].index, ids[i]);
        EXPECT_EQ(wake_records[n].cs, 0x10);
        EXPECT_EQ(wake_records[n].rflags & BIT(9), 0);
        EXPECT_EQ(wake_records[n].cr0 & (BIT(31) | 0x21), BIT(31) | 0x21);
        EXPECT(wake_records[n].cr3 >= SHIM && wake_records[n].cr3 < BIT(32));
        EXPECT_EQ(wake_records[n].cr4 & (CR4_MCE | CR4_PAE), CR4_MCE | CR4_PAE);
        EXPECT_EQ(wake_records[n].efer & EFER_BITS, EFER_BITS);
    }
    note("cpus", count);
}

/* While the CPUs that were woken run, and until some time has passed, which outlives a reset. */
static void resets_its_vm(void)
{
    const uint64_t now = rdtsc();
    note("ticks", now);
    if (now > RESETS)
        return;
    port_write(PORT_RESET, 2);
    port_write(PORT_RESET, 6);
    rt_expect(false, "the VM is reset", __FILE__, __LINE__);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"state_at_the_entry", state_at_the_entry, 0},
        {"the_zero_page", the_zero_page, 0},
        {"the_rest_can_be_accepted", the_rest_can_be_accepted, 0},
        {"memory_is_accepted", memory_is_accepted, 0},
        {"high_memory_is_accepted", high_memory_is_accepted, 0},
        {"the_mailbox_wakes_no_other", the_mailbox_wakes_no_other, 0},
        {"id_and_command_belong_together", id_and_command_belong_together, 0},
        {"the_mailbox_wakes_each", the_mailbox_wakes_each, 0},
        {"resets_its_vm", resets_its_vm, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests) - (rt_args[0] != 'r'));
}
