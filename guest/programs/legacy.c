/* SPDX-License-Identifier: MIT */
/*
 * The chips of a VM with `legacy`, used as kernels from before ACPI use them: interrupts of the
 * PIT, the keyboard controller and the UART through the pair of 8259s, in virtual wire mode and
 * through the I/O APIC; the PIT's modes; CMOS memory, the VGA's registers and text, what a BIOS
 * leaves, and a local APIC whose page moves.
 */
#include "guest/programs/rt/smp.h"

#define MASTER 0x70 /* vectors */
#define SLAVE  0x78

#define EOI          0x20
#define OCW3_POLL    0x0c
#define OCW3_IRR     0x0a
#define OCW3_ISR     0x0b
#define ICW4_8086    1
#define ICW4_AUTO    2
#define KEYBOARD_IRQ 1u
#define MOUSE_IRQ    12u

#define PIT_HZ    1193182u
#define PERIOD    1193u /* of the PIT's ticks: a millisecond */
#define PM_HZ     3579545u
#define LONG_TIME 50000000ull /* ticks of the TSC: longer than anything here may take */

#define AS_KEYBOARD 0xd2 /* commands of the keyboard controller */
#define AS_MOUSE    0xd3
#define SELF_TEST   0xaa

#define CR4_MCE BIT(6)

#define IOAPIC     0xfec00000u
#define ENTRY      0x10u
#define ENTRY_MASK BIT(16)
#define EXTINT     (7u << 8)
#define PIN_PIC    0u
#define PIN_PIT    2u
#define LVT_LINT0  0x350u

static volatile unsigned taken[256];
static volatile bool reads_keyboard, is_automatic;

/* ---- The chips ------------------------------------------------------------------------------- */

static void start_pics(uint8_t icw4)
{
    static const uint8_t vectors[] = {MASTER, SLAVE}, wiring[] = {4, 2};
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = i ? PORT_PIC_SLAVE : PORT_PIC;
        outb(port, 0x11);
        outb(port + 1, vectors[i]);
        outb(port + 1, wiring[i]);
        outb(port + 1, i ? ICW4_8086 : icw4);
        outb(port + 1, 0xff);
    }
    is_automatic = icw4 & ICW4_AUTO;
}

/* Unmasks an IRQ and masks all others. */
static void listen_to(unsigned irq)
{
    outb(PORT_PIC + 1, irq < 8 ? (uint8_t)~BIT(irq) : 0xfb);
    outb(PORT_PIC_SLAVE + 1, irq < 8 ? 0xff : (uint8_t)~BIT(irq - 8));
}

static uint8_t pic_set(uint8_t ocw3)
{
    outb(PORT_PIC, ocw3);
    return inb(PORT_PIC);
}

static void pit(unsigned counter, unsigned mode, unsigned count)
{
    outb(PORT_PIT + 3, (uint8_t)(counter << 6 | 3 << 4 | mode << 1));
    outb((uint16_t)(PORT_PIT + counter), (uint8_t)count);
    outb((uint16_t)(PORT_PIT + counter), (uint8_t)(count >> 8));
}

/* Makes the keyboard controller interrupt as if a device had sent a byte. */
static void key(uint8_t as, uint8_t byte)
{
    outb(PORT_KEYBOARD, as);
    outb(PORT_KEYBOARD_DATA, byte);
}

static void take(struct frame *frame)
{
    unsigned vector = (unsigned)frame->vector;
    taken[vector]++;
    if (reads_keyboard)
        (void)inb(PORT_KEYBOARD_DATA);
    if (is_automatic)
        return;
    if (vector >= SLAVE)
        outb(PORT_PIC_SLAVE, EOI);
    outb(PORT_PIC, EOI);
}

/* For interrupts that come as the APIC's own. */
static void take_fixed(struct frame *frame)
{
    taken[frame->vector]++;
    apic_write(APIC_REG_EOI, 0);
}

static unsigned all_taken(void)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(taken); i++)
        sum += taken[i];
    return sum;
}

static void begin(uint8_t icw4)
{
    for (unsigned i = 0; i < ARRAY_SIZE(taken); i++)
        taken[i] = 0;
    reads_keyboard = false;
    start_pics(icw4);
}

/* Waits with interrupts enabled, until `count` of a vector have been taken if it is not 0. */
static void let_in(unsigned vector, unsigned count)
{
    uint64_t end = rdtsc() + (count ? LONG_TIME : 100000);
    __asm__ volatile("sti" : : : "memory");
    while (rdtsc() < end && (!count || taken[vector] < count))
        pause();
    __asm__ volatile("cli" : : : "memory");
}

static uint32_t pm_timer(void)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"((uint16_t)PORT_PM_TIMER) : "memory");
    return value;
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

/* Waits until `count` ticks have been taken. Returns the time from the first one on, in the PIT's
 * clocks: a period between two ticks, and more if other VMs run meanwhile. */
static uint64_t time_of_ticks(unsigned count)
{
    let_in(MASTER, 1);
    uint32_t start = pm_timer();
    let_in(MASTER, count);
    return (uint64_t)(pm_timer() - start) * PIT_HZ / PM_HZ;
}

static void ticks(void)
{
    begin(ICW4_8086);
    pit(0, 2, PERIOD);
    listen_to(0);
    uint64_t passed = time_of_ticks(21);
    EXPECT_EQ(taken[MASTER], all_taken());
    EXPECT(passed > 18 * PERIOD);
    note("pit_ticks", passed);
}

/* A square wave rises once in a period, too, and a one-shot once in all. */
static void modes(void)
{
    begin(ICW4_8086);
    pit(0, 3, PERIOD);
    listen_to(0);
    EXPECT(time_of_ticks(9) > 6 * PERIOD);
    begin(ICW4_8086);
    pit(0, 0, PERIOD);
    listen_to(0);
    let_in(MASTER, 1);
    let_in(MASTER, 0);
    EXPECT_EQ(taken[MASTER], 1);
    outb(PORT_PIT + 3, 0xe2); /* a read-back command: the status of counter 0 */
    EXPECT_EQ(inb(PORT_PIT), 0xb0);
}

static void ends_a_halt(void)
{
    begin(ICW4_8086);
    pit(0, 0, PERIOD);
    listen_to(0);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    EXPECT_EQ(taken[MASTER], 1);
}

/* A tick that comes while it is masked, or while interrupts are disabled, is requested until it is
 * taken, once. */
static void waits(void)
{
    begin(ICW4_8086);
    pit(0, 2, PERIOD);
    for (uint64_t end = rdtsc() + LONG_TIME; !(pic_set(OCW3_IRR) & 1) && rdtsc() < end;)
        pause();
    EXPECT_EQ(pic_set(OCW3_IRR) & 1, 1);
    EXPECT_EQ(pic_set(OCW3_ISR), 0);
    pit(0, 0, 0xffff); /* lowers the line: the request is gone */
    EXPECT_EQ(pic_set(OCW3_IRR) & 1, 0);
    listen_to(0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    EXPECT_EQ(all_taken(), 0);
}

static void keyboard(void)
{
    begin(ICW4_8086);
    reads_keyboard = true;
    listen_to(KEYBOARD_IRQ);
    key(AS_KEYBOARD, 0x1c);
    let_in(MASTER + KEYBOARD_IRQ, 1);
    key(AS_KEYBOARD, 0x9c);
    let_in(MASTER + KEYBOARD_IRQ, 2);
    EXPECT_EQ(taken[MASTER + KEYBOARD_IRQ], 2);
    outb(PORT_KEYBOARD, 0x60);
    outb(PORT_KEYBOARD_DATA, 3); /* both interrupts */
    listen_to(MOUSE_IRQ);
    key(AS_MOUSE, 0x55);
    let_in(SLAVE + MOUSE_IRQ - 8, 1);
    EXPECT_EQ(taken[SLAVE + MOUSE_IRQ - 8], 1);
    EXPECT_EQ(all_taken(), 3);
    outb(PORT_KEYBOARD, SELF_TEST);
    EXPECT_EQ(inb(PORT_KEYBOARD) & 1, 1);
    EXPECT_EQ(inb(PORT_KEYBOARD_DATA), 0x55);
}

static void polled(void)
{
    begin(ICW4_8086);
    listen_to(KEYBOARD_IRQ);
    key(AS_KEYBOARD, 0x1c);
    EXPECT_EQ(pic_set(OCW3_POLL), 0x80 | KEYBOARD_IRQ);
    EXPECT_EQ(pic_set(OCW3_ISR), BIT(KEYBOARD_IRQ));
    let_in(0, 0);
    EXPECT_EQ(all_taken(), 0);
    (void)inb(PORT_KEYBOARD_DATA);
    outb(PORT_PIC, EOI);
}

static void automatic(void)
{
    begin(ICW4_8086 | ICW4_AUTO);
    reads_keyboard = true;
    listen_to(KEYBOARD_IRQ);
    for (unsigned i = 1; i <= 3; i++) {
        key(AS_KEYBOARD, (uint8_t)i);
        let_in(MASTER + KEYBOARD_IRQ, i);
    }
    EXPECT_EQ(taken[MASTER + KEYBOARD_IRQ], 3);
    EXPECT_EQ(pic_set(OCW3_ISR), 0);
}

static void route(unsigned pin, uint32_t entry)
{
    write32(IOAPIC, ENTRY + 2 * pin + 1);
    write32(IOAPIC + 0x10, 0);
    write32(IOAPIC, ENTRY + 2 * pin);
    write32(IOAPIC + 0x10, entry);
}

/* With LINT0 masked, an interrupt of the 8259s comes through pin 0 of the I/O APIC, with the
 * 8259s' vector, and one of the PIT through pin 2 with its own. */
static void through_the_ioapic(void)
{
    uint32_t wire = apic_read(LVT_LINT0);
    EXPECT_EQ(wire, EXTINT);
    apic_write(LVT_LINT0, ENTRY_MASK);
    begin(ICW4_8086);
    reads_keyboard = true;
    listen_to(KEYBOARD_IRQ);
    key(AS_KEYBOARD, 1);
    let_in(0, 0);
    EXPECT_EQ(all_taken(), 0);
    (void)inb(PORT_KEYBOARD_DATA);
    route(PIN_PIC, EXTINT);
    key(AS_KEYBOARD, 2);
    let_in(MASTER + KEYBOARD_IRQ, 1);
    EXPECT_EQ(taken[MASTER + KEYBOARD_IRQ], 1);
    route(PIN_PIC, ENTRY_MASK);
    outb(PORT_PIC + 1, 0xff);
    set_handler(0x90, take_fixed);
    pit(0, 2, PERIOD);
    route(PIN_PIT, 0x90);
    let_in(0x90, 4);
    route(PIN_PIT, ENTRY_MASK);
    EXPECT_EQ(all_taken(), taken[0x90] + 1);
    apic_write(LVT_LINT0, wire);
}

/* ---- The rest -------------------------------------------------------------------------------- */

static uint8_t indexed(uint16_t port, uint8_t reg)
{
    outb(port, reg);
    return inb(port + 1);
}

static void memory_of_the_clock(void)
{
    EXPECT_EQ(indexed(PORT_RTC, 0x15) | indexed(PORT_RTC, 0x16) << 8, 640);
    EXPECT_EQ(indexed(PORT_RTC, 0xa) & 0x80, 0); /* no update is in progress */
    EXPECT_EQ(indexed(PORT_RTC, 0xc), 0);
    EXPECT_EQ(indexed(PORT_RTC, 0xd), 0x80);
}

static void screen(void)
{
    outb(PORT_CRTC, 0xf);
    outb(PORT_CRTC + 1, 0xa5);
    EXPECT_EQ(indexed(PORT_CRTC, 0xf), 0xa5);
    EXPECT((inb(0x3da) ^ inb(0x3da)) & 8);
    write32(0xb8000, 0x07420741);
    write32(0xbfffc, 0x12345678);
    EXPECT_EQ(read32(0xb8000), 0x07420741);
    EXPECT_EQ(read32(0xbfffc), 0x12345678);
}

static bool sums_to_zero(uint64_t address, unsigned size)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < size; i++)
        sum = (uint8_t)(sum + read8(address + i));
    return !sum;
}

static void left_by_a_bios(void)
{
    uint64_t mp = 0xf0000;
    EXPECT_EQ(read32(0x410) >> 24 | (uint32_t)read8(0x414) << 8, 640);
    EXPECT_EQ(read32(mp), 0x5f504d5f); /* _MP_ */
    EXPECT(sums_to_zero(mp, 16));
    uint64_t table = read32(mp + 4);
    EXPECT_EQ(read32(table), 0x504d4350); /* PCMP */
    EXPECT(sums_to_zero(table, read32(table + 4) & 0xffff));
    EXPECT_EQ(read32(0) >> 16, 0xf000);
}

static void model_specific(void)
{
    EXPECT_EQ(cpuid(1).edx & 0x5080, 0x5080); /* MCE, MTRR, MCA */
    EXPECT_EQ(rdmsr(0xfe), 0x508);
    EXPECT_EQ(rdmsr(0x2ff), 0xc06);
    wrmsr(0x202, 0x80000001);
    EXPECT_EQ(rdmsr(0x202), 0x80000001);
    EXPECT_EQ(rdmsr(0x179), 0);
    EXPECT_EQ(rdmsr(0x1a0), 0x1801);
}

/* The hypervisor keeps CR4.MCE for itself, and shows what has been written. */
static void machine_check_enable(void)
{
    const uint64_t before = read_cr4();
    EXPECT_EQ(before & CR4_MCE, 0);
    for (unsigned i = 0; i < 2; i++) {
        write_cr4(before | CR4_MCE);
        EXPECT_EQ(read_cr4(), before | CR4_MCE);
        write_cr4(before);
        EXPECT_EQ(read_cr4(), before);
    }
}

/* ---- The page of the local APIC -------------------------------------------------------------- */

#define ELSEWHERE 0xfed40000u /* neither memory nor a device is there */

static volatile uint32_t others_view[2];

static void another_cpu_looks(void)
{
    others_view[0] = read32(APIC + APIC_REG_VERSION);
    others_view[1] = read32(ELSEWHERE + APIC_REG_VERSION);
}

static void write_base(void *value)
{
    wrmsr(MSR_APIC_BASE, *(uint64_t *)value);
}

/* The registers are at the new page for this CPU, and where they were for the other one. */
static void moves_its_apic(void)
{
    static uint8_t ram[4096] __attribute__((aligned(4096)));
    const uint64_t base = rdmsr(MSR_APIC_BASE), moved = (base & 0xfff) | ELSEWHERE;
    const uint32_t version = read32(APIC + APIC_REG_VERSION);
    if (!EXPECT(start_cpus(1, 1)))
        return;
    run_on(1, another_cpu_looks);
    EXPECT(finished(1));
    for (unsigned i = 0; i < 8; i++)
        EXPECT_EQ(read32(ELSEWHERE + APIC_REG_VERSION), ~0u);
    for (unsigned round = 0; round < 2; round++) {
        wrmsr(MSR_APIC_BASE, moved);
        EXPECT_EQ(rdmsr(MSR_APIC_BASE), moved);
        for (unsigned i = 0; i < 8; i++) {
            EXPECT_EQ(read32(ELSEWHERE + APIC_REG_VERSION), version);
            EXPECT_EQ(read32(APIC + APIC_REG_VERSION), ~0u);
        }
        write32(ELSEWHERE + APIC_REG_TPR, 0x20);
        write32(APIC + APIC_REG_TPR, 0x30);
        run_on(1, another_cpu_looks);
        EXPECT(finished(1));
        EXPECT_EQ(others_view[0], version);
        EXPECT_EQ(others_view[1], ~0u);
        wrmsr(MSR_APIC_BASE, base);
        EXPECT_EQ(read32(APIC + APIC_REG_TPR), 0x20);
        EXPECT_EQ(read32(ELSEWHERE + APIC_REG_VERSION), ~0u);
        write32(APIC + APIC_REG_TPR, 0);
    }
    const uint64_t places[] = {(uintptr_t)ram, 0, IOAPIC, BIT(51)};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        uint64_t value = places[i] | (base & 0xfff);
        EXPECT_EQ(try_run(write_base, &value).vector, VECTOR_GP);
        EXPECT_EQ(rdmsr(MSR_APIC_BASE), base);
    }
    forget_cpus();
}

static const struct test tests[] = {
    {"ticks", ticks, 0},
    {"modes", modes, 0},
    {"ends_a_halt", ends_a_halt, 0},
    {"waits", waits, 0},
    {"keyboard", keyboard, 0},
    {"polled", polled, 0},
    {"automatic", automatic, 0},
    {"through_the_ioapic", through_the_ioapic, 0},
    {"memory_of_the_clock", memory_of_the_clock, 0},
    {"screen", screen, 0},
    {"left_by_a_bios", left_by_a_bios, 0},
    {"model_specific", model_specific, 0},
    {"machine_check_enable", machine_check_enable, 0},
    {"moves_its_apic", moves_its_apic, NEED_EPTVISOR},
};

void guest_main(void)
{
    for (unsigned vector = MASTER; vector < MASTER + 16; vector++)
        set_handler(vector, take);
    run_tests(tests, ARRAY_SIZE(tests));
}
