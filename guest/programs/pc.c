/* SPDX-License-Identifier: MIT */
/*
 * The devices of a VM with `pc`, used as a driver uses them: the I/O APIC with the interrupts of
 * the UART behind it, edge- and level-triggered, to this CPU and to another one; and the clocks.
 * With the argument `x2apic` the local APICs are in x2APIC mode, in which the CPU may deliver the
 * interrupts: then the EOI of a level-triggered vector has to exit, and that of another one need
 * not.
 */
#include "guest/programs/rt/smp.h"

#define VECTOR 0x62

#define IOAPIC      0xfec00000u
#define IOAPIC_EOI  0x40u
#define ENTRY       0x10u /* register of the first entry */
#define ENTRY_LEVEL BIT(15)
#define ENTRY_MASK  BIT(16)
#define REMOTE_IRR  BIT(14)
#define LOGICAL     BIT(11)
#define LOWEST      BIT(8)
#define PIN_UART    4u

#define UART_IER      (PORT_UART + 1)
#define UART_IIR      (PORT_UART + 2)
#define UART_MCR      (PORT_UART + 4)
#define UART_TRANSMIT 2
#define UART_ON       0xb /* DTR, RTS and OUT2, which connects the interrupt */

#define APIC_REG_TMR 0x180u

#define EXITS_EOI COUNTER_EXIT(45) /* virtualized EOI */

#define LONG_TIME 20000000ull /* ticks of the TSC: longer than anything here may take */

static uint32_t io_read(uint8_t reg)
{
    write32(IOAPIC, reg);
    return read32(IOAPIC + 0x10);
}

static void io_write(uint8_t reg, uint32_t value)
{
    write32(IOAPIC, reg);
    write32(IOAPIC + 0x10, value);
}

static void route(unsigned pin, uint64_t entry)
{
    io_write((uint8_t)(ENTRY + 2 * pin), ENTRY_MASK);
    io_write((uint8_t)(ENTRY + 2 * pin + 1), (uint32_t)(entry >> 32));
    io_write((uint8_t)(ENTRY + 2 * pin), (uint32_t)entry);
}

static bool remote_irr(unsigned pin)
{
    return io_read((uint8_t)(ENTRY + 2 * pin)) & REMOTE_IRR;
}

/* ---- Interrupts that arrive ------------------------------------------------------------------ */

static volatile unsigned taken[CPUS_MAX];
static volatile unsigned keep_line; /* number of times that the handler does not lower the line */
static volatile uint32_t seen_tmr, seen_irr;

static void take(struct frame *frame)
{
    (void)frame;
    taken[apic_id()]++;
    seen_tmr = apic_read(APIC_REG_TMR + VECTOR / 32 * 16) >> VECTOR % 32 & 1;
    seen_irr = remote_irr(PIN_UART);
    if (keep_line)
        keep_line--;
    else
        (void)inb(UART_IIR); /* reports the empty transmitter, which lowers the line */
    apic_write(APIC_REG_EOI, 0);
}

static void begin(uint64_t entry)
{
    outb(UART_IER, 0);
    outb(UART_MCR, UART_ON);
    for (unsigned i = 0; i < CPUS_MAX; i++)
        taken[i] = 0;
    keep_line = 0;
    route(PIN_UART, entry);
}

/* The UART's transmitter is always empty, so enabling its interrupt raises the line at once. */
static void raise_uart(void)
{
    outb(UART_IER, 0);
    outb(UART_IER, UART_TRANSMIT);
}

static void wait(void)
{
    __asm__ volatile("sti" : : : "memory");
    for (uint64_t end = rdtsc() + 300000; rdtsc() < end;)
        pause();
    __asm__ volatile("cli" : : : "memory");
}

/* Disables the UART's interrupts, because the results are printed by this UART. */
static void end(void)
{
    outb(UART_IER, 0);
    route(PIN_UART, ENTRY_MASK);
}

/* The exits that EOIs have made since the VM began; 0 if that cannot be told. */
static uint64_t eoi_exits(void)
{
    return missing_need(NEED_TESTCTL) ? 0 : counter(EXITS_EOI);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void registers(void)
{
    EXPECT_EQ(io_read(1), 0x170020);
    for (unsigned pin = 0; pin < 24; pin++)
        EXPECT_EQ(io_read((uint8_t)(ENTRY + 2 * pin)), ENTRY_MASK);
}

static void edge(void)
{
    uint64_t exits = eoi_exits();
    begin(VECTOR);
    raise_uart();
    wait();
    unsigned first = taken[0];
    raise_uart();
    wait();
    end();
    EXPECT_EQ(eoi_exits(), exits);
    EXPECT_EQ(first, 1);
    EXPECT_EQ(taken[0], 2);
    EXPECT_EQ(seen_tmr, 0);
    EXPECT_EQ(seen_irr, 0);
    note("interrupts", taken[0]);
}

static void masked(void)
{
    begin(ENTRY_MASK | VECTOR);
    raise_uart();
    wait();
    unsigned first = taken[0];
    route(PIN_UART, VECTOR); /* the edge came while the pin was masked, and is lost */
    wait();
    end();
    EXPECT_EQ(first, 0);
    EXPECT_EQ(taken[0], 0);
}

/* While the line is asserted, the interrupt is sent again after each EOI. */
static void level(void)
{
    uint64_t exits = eoi_exits();
    begin(ENTRY_LEVEL | VECTOR);
    keep_line = 5;
    raise_uart();
    wait();
    bool waits = remote_irr(PIN_UART);
    end();
    EXPECT_EQ(taken[0], 6);
    EXPECT_EQ(seen_tmr, 1);
    EXPECT_EQ(seen_irr, 1);
    EXPECT(!waits);
    note("interrupts", taken[0]);
    note("eoi_exits", eoi_exits() - exits);
}

/* The line rises while the entry is masked, and is still asserted when it is unmasked. */
static void masked_level(void)
{
    begin(ENTRY_LEVEL | ENTRY_MASK | VECTOR);
    raise_uart();
    wait();
    unsigned first = taken[0];
    route(PIN_UART, ENTRY_LEVEL | VECTOR);
    wait();
    end();
    EXPECT_EQ(first, 0);
    EXPECT_EQ(taken[0], 1);
}

/* An interrupt on its way ends HLT. A CPU that waits for input may sleep for long. */
static void ends_a_halt(void)
{
    begin(VECTOR);
    raise_uart();
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    end();
    EXPECT_EQ(taken[0], 1);
}

/* ---- The clocks ------------------------------------------------------------------------------ */

static uint8_t cmos(uint8_t reg)
{
    outb(PORT_RTC, reg);
    return inb(PORT_RTC + 1);
}

static unsigned bcd(uint8_t value)
{
    return value / 16 * 10u + value % 16;
}

/* The clock shows the host's time, in the format that every driver expects. */
static void time_of_day(void)
{
    EXPECT_EQ(cmos(0xd), 0x80);
    EXPECT_EQ(cmos(0xb), 2);
    EXPECT_EQ(cmos(0xa) & 0x80, 0);
    unsigned year = bcd(cmos(9)), century = bcd(cmos(0x32));
    EXPECT(bcd(cmos(0)) < 60 && bcd(cmos(2)) < 60 && bcd(cmos(4)) < 24);
    EXPECT(bcd(cmos(7)) - 1 < 31 && bcd(cmos(8)) - 1 < 12);
    EXPECT(century >= 20 && century < 30);
    note("year", century * 100 + year);
}

static uint32_t inl(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

struct moment {
    uint32_t ticks; /* of the power management timer */
    uint64_t tsc;
};

/* Reads both counters at once: of some readings it takes the shortest, in which the vCPU did not
 * wait for its turn. */
static struct moment now(void)
{
    struct moment best = {0};
    uint64_t shortest = ~0ull;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t before = rdtsc();
        uint32_t ticks = inl(PORT_PM_TIMER);
        uint64_t took = rdtsc() - before;
        if (took >= shortest)
            continue;
        shortest = took;
        best = (struct moment){ticks, before + took / 2};
    }
    return best;
}

/* Returns the TSC ticks per second, measured by the power management timer over at least `length`
 * of its ticks. */
static uint64_t tsc_rate(uint32_t length)
{
    struct moment first = now(), last;
    do {
        last = now();
    } while (last.ticks - first.ticks < length);
    return (last.tsc - first.tsc) * 3579545 / (last.ticks - first.ticks);
}

static void pm_timer(void)
{
    uint64_t rate = tsc_rate(100000), again = tsc_rate(30000);
    EXPECT(again > rate - rate / 64 && again < rate + rate / 64);
    note("tsc_khz", rate / 1000);
}

static volatile bool stop;

static void let_interrupts_in(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    apic_take_logical_id();
    __asm__ volatile("sti");
    while (!stop)
        pause();
    __asm__ volatile("cli");
}

static void arrives(uint64_t entry, unsigned own, unsigned other)
{
    begin(entry | VECTOR);
    keep_line = own + other > 1 ? 1 : 0; /* if two CPUs take it, one lowers the line */
    raise_uart();
    wait();
    end();
    EXPECT_EQ(taken[0], own);
    EXPECT_EQ(taken[1], other);
}

static void destinations(void)
{
    if (!EXPECT(start_cpus(1, 1)))
        return;
    stop = false;
    apic_take_logical_id();
    run_on(1, let_interrupts_in);
    wait();
    uint64_t first = (uint64_t)apic_logical_id(0) << 56, second = (uint64_t)apic_logical_id(1)
                                                                  << 56;
    arrives(1ull << 56, 0, 1);
    arrives(1ull << 56 | ENTRY_LEVEL, 0, 1);
    arrives(7ull << 56, 0, 0);
    if (!apic_is_x2apic) /* whose broadcast has 32 bits */
        arrives(0xffull << 56, 1, 1);
    arrives(first | LOGICAL, 1, 0);
    arrives(second | LOGICAL, 0, 1);
    arrives(first | second | LOGICAL, 1, 1);
    arrives(second | LOGICAL | LOWEST, 0, 1);
    arrives(first | second | LOGICAL | LOWEST, 1, 0);
    stop = true;
    EXPECT(finished(1));
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"registers", registers, 0},
        {"edge", edge, 0},
        {"masked", masked, 0},
        {"level", level, 0},
        {"masked_level", masked_level, 0},
        {"ends_a_halt", ends_a_halt, 0},
        {"destinations", destinations, 0},
        {"time_of_day", time_of_day, 0},
        {"pm_timer", pm_timer, 0},
    };

    if (*rt_args == 'x')
        apic_enter_x2apic();
    apic_write(APIC_REG_SVR, 0x1ff);
    set_handler(VECTOR, take);
    run_tests(tests, ARRAY_SIZE(tests));
}
