/* SPDX-License-Identifier: MIT */
/*
 * #VE on two CPUs at once (words `vcpus=2,shared=39,ve`): each CPU takes its own exceptions, with
 * the information in a page of its own.
 */
#include "guest/programs/rt/sides.h"
#include "guest/programs/rt/smp.h"

#define ROUNDS   2000u
#define DEVICES  (TEST_VA)
#define REGISTER 8u /* a register of a test device that keeps its value */

static struct cpu {
    volatile unsigned taken, wrong;
} __attribute__((aligned(64))) cpus[2];

static unsigned self(void)
{
    return cpuid(1).ebx >> 24;
}

static void on_ve(struct frame *frame)
{
    unsigned cpu = self();
    volatile struct ve_info *info =
        (volatile struct ve_info *)(uintptr_t)(VE_AREA_BASE + cpu * RT_PAGE);
    uint64_t gpa = (TESTDEV_A_BASE + cpu * RT_PAGE + REGISTER) | shared_bit();
    uint64_t data = frame->rax;
    bool write = info->qualification & BIT(1);
    cpus[cpu].taken++;
    cpus[cpu].wrong += info->reason != 48 || info->busy != ~0u || info->physical_address != gpa;
    cpus[cpu].wrong += mmio_request(gpa, 4, write, &data) != 0;
    if (!write)
        frame->rax = (uint32_t)data;
    frame->rip += 2;
    info->busy = 0;
}

static void use_device(void)
{
    unsigned cpu = self();
    uint64_t device = DEVICES + cpu * RT_PAGE + REGISTER;
    for (unsigned i = 0; i < ROUNDS; i++) {
        store2(device, i << 1 | cpu);
        cpus[cpu].wrong += load2(device) != (i << 1 | cpu);
    }
}

static void each_has_its_own(void)
{
    apic_enter_x2apic(); /* the APIC's page would be MMIO, too */
    set_handler(VECTOR_VE, on_ve);
    for (unsigned i = 0; i < 2; i++)
        map_page(rt_pml4, DEVICES + i * RT_PAGE, (TESTDEV_A_BASE + i * RT_PAGE) | shared_bit(),
                 PTE_P | PTE_W);
    if (!EXPECT(start_cpus(1, 1)))
        return;
    run_on(1, use_device);
    use_device();
    EXPECT(finished(1));
    for (unsigned i = 0; i < 2; i++) {
        EXPECT_EQ(cpus[i].taken, 2 * ROUNDS);
        EXPECT_EQ(cpus[i].wrong, 0);
    }
    note("by_cpu", hc_config(CONFIG_VE) == 2);
    note("taken", cpus[0].taken + cpus[1].taken);
}

static const struct test tests[] = {{"each_has_its_own", each_has_its_own, 0}};

void guest_main(void)
{
    run_tests(tests, ARRAY_SIZE(tests));
}
