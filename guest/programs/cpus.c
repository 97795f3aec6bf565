/* SPDX-License-Identifier: MIT */
/*
 * The MADT and CPUID tell a guest the truth about its CPUs before it has started them. With the
 * argument `dump`, the tables are printed, so that a test can check them.
 */
#include "guest/programs/rt/acpi.h"
#include "guest/programs/rt/smp.h"

#define BIOS_BEGIN 0xc0000u

static uint32_t ids[CPUS_MAX];
static unsigned cpus;

static void print_bytes(const char *name, uint64_t address, uint64_t size)
{
    for (uint64_t i = 0; i < size; i += 16) {
        print("# %s", name);
        for (uint64_t j = i; j < size && j < i + 16; j++)
            print(" %02x", read8(address + j));
        print("\n");
    }
}

static void tables(void)
{
    uint64_t rsdp = acpi_rsdp(), madt = acpi_table("APIC");
    if (!EXPECT(rsdp && madt))
        return;
    EXPECT_EQ(read8(rsdp + 15), 2); /* revision */
    EXPECT_EQ(read32(madt + 36), APIC);
    EXPECT_EQ(read32(madt + 40), 0); /* no 8259s */
    note("rsdp", rsdp);
    if (*rt_args != 'd')
        return;
    uint64_t xsdt = read64(rsdp + 24), fadt = acpi_table("FACP");
    uint64_t mcfg = acpi_table("MCFG");
    print_bytes("RSDP", rsdp, 36);
    print_bytes("XSDT", xsdt, read32(xsdt + 4));
    print_bytes("APIC", madt, read32(madt + 4));
    if (fadt) {
        uint64_t dsdt = read64(fadt + 140);
        print_bytes("FACP", fadt, read32(fadt + 4));
        print_bytes("DSDT", dsdt, read32(dsdt + 4));
    }
    if (mcfg)
        print_bytes("MCFG", mcfg, read32(mcfg + 4));
}

/* The BIOS area is RAM, and zero where no table lies; nothing is in front of it. */
static void bios_area_is_ram(void)
{
    uint64_t rsdp = acpi_rsdp();
    for (uint64_t at = BIOS_BEGIN; at < BIOS_AREA_END; at += 0x1000) {
        EXPECT(at == rsdp || read32(at) == 0);
        EXPECT_EQ(read32(at + 0xffc), 0);
    }
    uint32_t before = read32(rsdp);
    write32(rsdp, ~before);
    EXPECT_EQ(read32(rsdp), ~before);
    write32(rsdp, before);
    EXPECT_EQ(acpi_rsdp(), rsdp);
    EXPECT_EQ(read32(BIOS_BEGIN - 4), ~0u);
}

static void madt_lists_each_once(void)
{
    EXPECT(cpus >= 1 && cpus <= CPUS_MAX);
    for (unsigned i = 0; i < cpus; i++)
        EXPECT_EQ(ids[i], i);
    note("cpus", cpus);
}

static struct cpuid topology(uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(0xb), "c"(subleaf)
                     : "memory");
    return r;
}

/* Behind the levels: no level, but ECX names the subleaf, and EDX the CPU (SDM 2A, CPUID). */
static bool topology_ends(uint32_t subleaf, uint32_t id)
{
    struct cpuid r = topology(subleaf);
    return EXPECT_EQ(r.eax | r.ebx, 0) && EXPECT_EQ(r.ecx, subleaf & 0xff) && EXPECT_EQ(r.edx, id);
}

/* Leaves 1, 4 and 0xb of the calling CPU agree with the MADT, and identify that CPU. */
static bool cpuid_agrees_here(uint32_t id)
{
    struct cpuid one = cpuid(1), four = cpuid(4);
    struct cpuid thread = topology(0), core = topology(1);
    unsigned bits = core.eax;
    return EXPECT_EQ(one.ebx >> 16 & 0xff, cpus) && EXPECT_EQ(one.ebx >> 24, id) &&
           EXPECT_EQ(one.edx >> 28 & 1, cpus > 1) &&
           EXPECT(!(four.eax & 31) || four.eax >> 26 == (1u << bits) - 1) &&
           EXPECT_EQ(four.eax >> 14 & 0xfff, 0) && EXPECT_EQ(thread.eax, 0) &&
           EXPECT_EQ(thread.ebx, 1) && EXPECT_EQ(thread.ecx, 0x100) && EXPECT_EQ(thread.edx, id) &&
           EXPECT_EQ(core.ebx, cpus) && EXPECT_EQ(core.ecx, 0x201) && EXPECT_EQ(core.edx, id) &&
           EXPECT(cpus <= 1u << bits && (cpus == 1 || cpus > 1u << (bits - 1))) &&
           topology_ends(2, id) && topology_ends(3, id) && topology_ends(0x104, id);
}

static void cpuid_agrees(void)
{
    unsigned highest = cpuid(0).eax;
    EXPECT(highest < 0xb || cpuid_agrees_here(0));
    note("highest_leaf", highest);
}

static volatile bool agreed;

static void look_at_self(void)
{
    bool first = rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP;
    agreed = !first && (cpuid(0).eax < 0xb || cpuid_agrees_here(apic_id()));
}

/* Each listed CPU starts and has the listed APIC ID; no other CPU starts. */
static void each_starts(void)
{
    EXPECT(rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP);
    for (unsigned i = 0; i < cpus; i++) {
        if (ids[i] == apic_id())
            continue;
        if (!EXPECT(start_cpus(ids[i], ids[i])))
            return;
        unsigned number = cpus_running - 1;
        EXPECT_EQ(apic_id_of(number), ids[i]);
        agreed = false;
        run_on(number, look_at_self);
        EXPECT(finished(number) && agreed);
    }
    EXPECT_EQ(cpus_running, cpus);
    send_ipi(cpus, ICR_INIT);
    send_ipi(cpus, ICR_STARTUP | 8);
    for (uint64_t end = rdtsc() + 100000; rdtsc() < end;)
        pause();
    EXPECT_EQ(cpus_running, cpus);
    note("cpus", cpus_running);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"tables", tables, 0},
        {"bios_area_is_ram", bios_area_is_ram, NEED_EPTVISOR},
        {"madt_lists_each_once", madt_lists_each_once, 0},
        {"cpuid_agrees", cpuid_agrees, NEED_EPTVISOR},
        {"each_starts", each_starts, 0},
    };

    cpus = madt_cpus(ids, ARRAY_SIZE(ids));
    run_tests(tests, ARRAY_SIZE(tests));
}
