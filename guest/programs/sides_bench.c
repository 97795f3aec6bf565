/* SPDX-License-Identifier: MIT */
/*
 * The cost of stolen bits, private and shared pages, and #VE, from one guest instruction to the
 * next, in ticks of the TSC, which counts instructions on Bochs: the median minus that of an empty
 * measurement; zaps and conversions include their hypercall. `make bench-private` runs it in VMs
 * without stolen bits, with one, with two, and with #VE; each VM prints the rows that apply to it.
 */
#include "guest/programs/bench/measure.h"
#include "guest/programs/rt/sides.h"

#define SAMPLES 64u
#define SLOT    8
#define BASE    0x100000000ull /* more 4 KiB pages than one table has, none of them shared */
#define SPAN    (4 * RT_2M)
#define PLAIN   TEST_VA
#define SHARED  (TEST_VA + BIT(35))
#define CODE    (TEST_VA + BIT(36))
#define DEVICE  (TEST_VA + BIT(37))

/* ---- Faults and zaps ------------------------------------------------------------------------- */

static void touch(uint64_t offset)
{
    write64(PLAIN + offset, 1);
}

static void touch_shared(uint64_t offset)
{
    write64(SHARED + offset, 1);
}

/* Each page begins with a RET instruction. */
static void call_code(uint64_t offset)
{
    ((void (*)(void))(uintptr_t)(CODE + offset))();
}

static void drop(uint64_t offset)
{
    EXPECT_EQ(hc_zap(BASE + offset, 1), 0);
}

static void zap(uint64_t offset)
{
    hc_zap(BASE + offset, 1);
}

static void zap_512(uint64_t offset)
{
    hc_zap(BASE + offset, 512);
}

static void touch_512(uint64_t offset)
{
    for (uint64_t at = 0; at < RT_2M; at += RT_PAGE)
        touch(offset + at);
}

/* Measures in a slot that is too small for a large page. */
static void faults(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SAMPLES, 0), 0);
    for (unsigned i = 0; i < SAMPLES; i++)
        write64(PLAIN + i * RT_PAGE, 0xc3);
    if (code_bit())
        row("code_fault_4k", drop, call_code, nothing, 0, RT_PAGE, SAMPLES);
    struct watch violations = watch(EXITS_VIOLATION);
    row("fault_4k", drop, touch, nothing, 0, RT_PAGE, SAMPLES);
    EXPECT_EQ(watched(violations), SAMPLES);
    row("zap_4k", touch, zap, nothing, 0, RT_PAGE, SAMPLES);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);

    EXPECT_EQ(hc_slot_add(SLOT, BASE, 511, 0), 0);
    EXPECT_EQ(hc_slot_add(SLOT + 1, BASE + 511 * RT_PAGE, 1, 0), 0);
    row("zap_512", touch_512, zap_512, nothing, 0, 0, 4);
    EXPECT_EQ(hc_slot_delete(SLOT + 1), 0);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

static void shared_faults(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SAMPLES, SLOT_SHARED), 0);
    for (unsigned i = 0; i < SAMPLES; i++)
        touch_shared(i * RT_PAGE);
    struct watch violations = watch(EXITS_VIOLATION);
    row("shared_fault_4k", drop, touch_shared, nothing, 0, RT_PAGE, SAMPLES);
    EXPECT_EQ(watched(violations), SAMPLES);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* ---- Conversions ----------------------------------------------------------------------------- */

static void share_4k(uint64_t offset)
{
    map_gpa((BASE + offset) | shared_bit(), RT_PAGE);
}

static void share_2m(uint64_t offset)
{
    map_gpa((BASE + offset) | shared_bit(), RT_2M);
}

static void unshare_and_touch(uint64_t offset)
{
    EXPECT_EQ(map_gpa(BASE + offset, RT_2M), 0);
    touch(offset);
}

static void conversions(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SAMPLES, 0), 0);
    row("convert_4k", touch, share_4k, nothing, 0, RT_PAGE, SAMPLES);
    touch_shared(0);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(hc_slot_add(SLOT, BASE, SPAN / RT_PAGE, 0), 0);
    row("convert_2m", unshare_and_touch, share_2m, nothing, 0, RT_2M, 4);
    touch_shared(0);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

/* ---- #VE ------------------------------------------------------------------------------------- */

static void write_device(uint64_t offset)
{
    store2(DEVICE + 8, (uint32_t)offset);
}

static void mmio(void)
{
    handle_ve();
    write_device(0);
    ve_count = 0;
    row("ve_mmio_write", nothing, write_device, nothing, 0, 1, SAMPLES);
    EXPECT_EQ(ve_count, SAMPLES);
}

void guest_main(void)
{
    static const struct test with_ve[] = {{"mmio", mmio, NEED_TESTCTL | NEED_SHARED}};
    static const struct test tests[] = {
        {"faults", faults, NEED_TESTCTL},
        {"shared_faults", shared_faults, NEED_TESTCTL | NEED_SHARED},
        {"conversions", conversions, NEED_TESTCTL | NEED_SHARED},
    };

    for (uint64_t at = 0; at < SPAN; at += RT_2M) {
        map_page(rt_pml4, PLAIN + at, BASE + at, PTE_P | PTE_W | PTE_PS);
        map_page(rt_pml4, SHARED + at, (BASE + at) | shared_bit(), PTE_P | PTE_W | PTE_PS);
        map_page(rt_pml4, CODE + at, (BASE + at) | code_bit(), PTE_P | PTE_PS);
    }
    map_page(rt_pml4, DEVICE, TESTDEV_A_BASE | shared_bit(), PTE_P | PTE_W);
    if (under_eptvisor() && hc_config(CONFIG_VE))
        run_tests(with_ve, ARRAY_SIZE(with_ve));
    run_tests(tests, ARRAY_SIZE(tests));
}
