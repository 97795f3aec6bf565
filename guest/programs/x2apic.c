/* SPDX-License-Identifier: MIT */
/*
 * The x2APIC (SDM 3, 11.12) as a guest sees it: transitions to and from x2APIC mode, the MSRs and
 * the accesses that they refuse, 64-bit interrupt commands, and CPUID. A second CPU is the
 * destination of messages.
 */
#include "guest/programs/rt/smp.h"

#define VECTOR       0x61
#define ICR          0x30u
#define MSR_ICR      (MSR_X2APIC + ICR)
#define MSR_SELF_IPI 0x83fu

static uint64_t base; /* IA32_APIC_BASE in xAPIC mode */

/* ---- Accesses that may fault ----------------------------------------------------------------- */

struct access {
    uint32_t msr;
    uint64_t value;
};

static void read_access(void *argument)
{
    struct access *access = argument;
    access->value = rdmsr(access->msr);
}

static void write_access(void *argument)
{
    const struct access *access = argument;
    wrmsr(access->msr, access->value);
}

static bool reads(uint32_t msr)
{
    struct fault fault = try_run(read_access, &(struct access){msr, 0});
    return !fault.taken || !EXPECT(fault.vector == VECTOR_GP && fault.error == 0);
}

static bool writes(uint32_t msr, uint64_t value)
{
    struct fault fault = try_run(write_access, &(struct access){msr, value});
    return !fault.taken || !EXPECT(fault.vector == VECTOR_GP && fault.error == 0);
}

/* ---- Modes ----------------------------------------------------------------------------------- */

static void announced(void)
{
    EXPECT(cpuid(1).ecx & BIT(21));
    EXPECT_EQ(base, APIC | APIC_BASE_ENABLE | APIC_BASE_BSP);
}

/* Figure 11-27: from each mode to each. Bits 11:10 are 00: off, 10: xAPIC, 11: x2APIC, 01:
 * invalid. */
static void transitions(void)
{
    static const uint8_t way_in[][2] = {{0, 0}, {2, 2}, {2, 3}};
    static const bool legal[][4] = {{1, 0, 1, 0}, {1, 0, 1, 1}, {1, 0, 0, 1}};
    uint64_t rest = base & ~(APIC_BASE_ENABLE | APIC_BASE_X2APIC);
    unsigned refused = 0;
    for (unsigned from = 0; from < ARRAY_SIZE(way_in); from++) {
        for (uint64_t to = 0; to < 4; to++) {
            wrmsr(MSR_APIC_BASE, rest);
            for (unsigned i = 0; i < 2; i++)
                if (way_in[from][i])
                    wrmsr(MSR_APIC_BASE, rest | (uint64_t)way_in[from][i] << 10);
            uint64_t before = rdmsr(MSR_APIC_BASE);
            EXPECT_EQ(writes(MSR_APIC_BASE, rest | to << 10), legal[from][to]);
            EXPECT_EQ(rdmsr(MSR_APIC_BASE), legal[from][to] ? rest | to << 10 : before);
            refused += !legal[from][to];
        }
    }
    wrmsr(MSR_APIC_BASE, rest);
    wrmsr(MSR_APIC_BASE, base);
    EXPECT_EQ(rdmsr(MSR_APIC_BASE), base);
    note("refused", refused);
}

static void other_bits_of_the_base(void)
{
    unsigned refused = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        if (bit != 10 && bit != 11)
            refused += !writes(MSR_APIC_BASE, base ^ BIT(bit));
    EXPECT_EQ(refused, 62);
    EXPECT_EQ(rdmsr(MSR_APIC_BASE), base);
    note("refused", refused);
}

static void no_msrs_of_an_xapic(void)
{
    for (uint32_t msr = MSR_X2APIC; msr < MSR_X2APIC + 0x100; msr++)
        if (!EXPECT(!reads(msr) && !writes(msr, 0)))
            return;
}

/* The registers keep their values, and the page no longer exists. */
static void becomes_an_x2apic(void)
{
    write32(APIC + APIC_REG_SVR, 0x1ff);
    write32(APIC + APIC_REG_TPR, 0x20);
    apic_enter_x2apic();
    EXPECT_EQ(rdmsr(MSR_APIC_BASE), base | APIC_BASE_X2APIC);
    EXPECT_EQ(apic_read(APIC_REG_TPR), 0x20);
    EXPECT_EQ(apic_read(APIC_REG_SVR), 0x1ff);
    EXPECT_EQ(read32(APIC + APIC_REG_TPR), ~0u);
    write32(APIC + APIC_REG_TPR, 0x30);
    EXPECT_EQ(apic_read(APIC_REG_TPR), 0x20);
    apic_write(APIC_REG_TPR, 0);
}

/* ---- MSRs ------------------------------------------------------------------------------------ */

/* Table 11-6: which MSRs exist and how they are accessed. For those that can be written, one
 * reserved bit below bit 32, if there is one. All higher bits are reserved, except in the ICR. */
static const struct row {
    uint8_t first, last;
    bool read, write;
    uint32_t reserved;
} rows[] = {
    {0x02, 0x03, true, false, 0},
    {0x08, 0x08, true, true, BIT(8)},
    {0x0a, 0x0a, true, false, 0},
    {0x0b, 0x0b, false, true, 1},
    {0x0d, 0x0d, true, false, 0},
    {0x0f, 0x0f, true, true, BIT(10)},
    {0x10, 0x27, true, false, 0},
    {0x28, 0x28, true, true, 1},
    {0x30, 0x30, true, true, BIT(16)},
    {0x32, 0x32, true, true, BIT(8)},
    {0x33, 0x34, true, true, BIT(17)},
    {0x35, 0x36, true, true, BIT(11)},
    {0x37, 0x37, true, true, (uint32_t)BIT(31)},
    {0x38, 0x38, true, true, 0},
    {0x39, 0x39, true, false, 0},
    {0x3e, 0x3e, true, true, BIT(2)},
    {0x3f, 0x3f, false, true, BIT(8)},
};

/* Values without an effect: the LVT entries stay masked, and the ICR addresses a CPU that does not
 * exist. */
static uint64_t harmless(uint32_t reg)
{
    if (reg == ICR)
        return 0x1234567800004000 | VECTOR;
    if (reg == 0x0f)
        return 0x3ff;
    if (reg == 0x3f)
        return VECTOR;
    return reg >= 0x32 && reg <= 0x37 ? BIT(16) : 0;
}

static bool follows(const struct row *row, uint32_t reg)
{
    uint32_t msr = MSR_X2APIC + reg;
    uint64_t value = harmless(reg);
    if (reads(msr) != (row && row->read) || writes(msr, value) != (row && row->write))
        return false;
    if (!row || !row->write)
        return true;
    if (row->reserved && writes(msr, value | row->reserved))
        return false;
    return reg == ICR || (!writes(msr, value | BIT(32)) && !writes(msr, value | BIT(63)));
}

static void access_rules(void)
{
    unsigned refused = 0;
    for (uint32_t reg = 0; reg < 0x100; reg++) {
        const struct row *row = NULL;
        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
            if (reg >= rows[i].first && reg <= rows[i].last)
                row = &rows[i];
        if (!EXPECT(follows(row, reg))) {
            note("register", reg);
            return;
        }
        refused += !row || !row->read || !row->write;
    }
    note("refused", refused);
}

static void identity(void)
{
    EXPECT_EQ(rdmsr(0x802), 0);
    EXPECT_EQ(rdmsr(0x80d), 1);
    EXPECT_EQ(rdmsr(0x803), 0x50014);
}

static volatile uint64_t taken[2];

static void take(struct frame *frame)
{
    (void)frame;
    taken[apic_id()]++;
    apic_write(APIC_REG_EOI, 0);
}

static void let_one_in(void)
{
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void self_ipi(void)
{
    uint64_t command = rdmsr(MSR_ICR);
    let_one_in(); /* takes interrupts of earlier tests */
    taken[0] = 0;
    wrmsr(MSR_SELF_IPI, VECTOR);
    EXPECT_EQ(rdmsr(MSR_X2APIC + APIC_REG_IRR / 16 + VECTOR / 32), BIT(VECTOR % 32));
    let_one_in();
    EXPECT_EQ(taken[0], 1);
    EXPECT_EQ(rdmsr(MSR_ICR), command);
}

/* ---- Another CPU ----------------------------------------------------------------------------- */

static volatile bool stop;

static void let_interrupts_in(void)
{
    __asm__ volatile("sti");
    while (!stop)
        pause();
    __asm__ volatile("cli");
}

static void arrives(uint64_t destination, uint32_t command, unsigned own, unsigned others)
{
    static uint64_t wanted[2];
    wanted[0] += own;
    wanted[1] += others;
    send_ipi((uint32_t)destination, command | VECTOR);
    __asm__ volatile("sti" : : : "memory");
    /* several turns, even if the vCPUs share a pCPU */
    for (uint64_t end = rdtsc() + 500000; rdtsc() < end;)
        pause();
    __asm__ volatile("cli" : : : "memory");
    EXPECT_EQ(taken[0], wanted[0]);
    EXPECT_EQ(taken[1], wanted[1]);
}

static void destinations(void)
{
    if (!EXPECT(start_cpus(1, 1)))
        return;
    taken[0] = taken[1] = 0;
    stop = false;
    run_on(1, let_interrupts_in);
    arrives(1, ICR_FIXED, 0, 1);
    arrives(0x101, ICR_FIXED, 0, 0);
    arrives(0xff, ICR_FIXED, 0, 0); /* the broadcast address of an xAPIC */
    arrives(~0u, ICR_FIXED, 1, 1);
    arrives(2, ICR_LOGICAL, 0, 1);
    arrives(3, ICR_LOGICAL, 1, 1);
    arrives(0x10002, ICR_LOGICAL, 0, 0); /* another cluster */
    arrives(~0u, ICR_LOGICAL, 1, 1);
    arrives(0, ICR_OTHERS, 0, 1);
    arrives(0, ICR_ALL, 1, 1);
    arrives(1, ICR_SELF, 1, 0);
    stop = true;
    EXPECT(finished(1));
    note("arrived", taken[0] + taken[1]);
}

/* The other CPU is first in its initial state, and later in the state that an INIT leaves. */
static void init_keeps_the_mode(void)
{
    EXPECT_EQ(apic_base_on_arrival(1) & (APIC_BASE_ENABLE | APIC_BASE_X2APIC), APIC_BASE_ENABLE);
    send_ipi(1, ICR_INIT);
    forget_cpus();
    if (!EXPECT(start_cpus(1, 1)))
        return;
    EXPECT_EQ(apic_base_on_arrival(1), APIC | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
    EXPECT_EQ(apic_id_of(1), 1);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"announced", announced, 0},
        {"transitions", transitions, 0},
        {"other_bits_of_the_base", other_bits_of_the_base, 0},
        {"no_msrs_of_an_xapic", no_msrs_of_an_xapic, 0},
        {"becomes_an_x2apic", becomes_an_x2apic, 0},
        {"access_rules", access_rules, 0},
        {"identity", identity, 0},
        {"self_ipi", self_ipi, 0},
        {"destinations", destinations, 0},
        {"init_keeps_the_mode", init_keeps_the_mode, 0},
    };

    base = rdmsr(MSR_APIC_BASE);
    set_handler(VECTOR, take);
    run_tests(tests, ARRAY_SIZE(tests));
}
