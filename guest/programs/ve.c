/* SPDX-License-Identifier: MIT */
/*
 * A guest that takes its MMIO as #VE and hands it to the hypervisor by hypercall (words
 * `shared=39,execute_only=38,ve`; rules X9, X10, F10). Whether the CPU delivers the exception, or
 * the hypervisor by the same rules, only the exits differ.
 */
#include "guest/programs/sides/region.h"

#define HOLE    0xd0000000ull /* no slot and no device */
#define DEVICE  TEST_VA
#define SPACE   (TEST_VA + BIT(30)) /* HOLE, shared */
#define CODE    (TEST_VA + BIT(31))
#define NOWHERE (TEST_VA + BIT(32)) /* another part of the hole, for a second #VE */
#define FAR     (TEST_VA + BIT(33)) /* in the GiB after the hole's */
#define RW      (PTE_P | PTE_W)
#define SLOT    1
#define ASKING  1 /* COUNTER_EXITS includes the hypercall that reads it */

static void map_windows(void)
{
    map_page(rt_pml4, DEVICE, TESTDEV_A_BASE | shared_bit(), RW);
    map_page(rt_pml4, CODE, REGION | code_bit(), RW);
    map_page(rt_pml4, NOWHERE, (HOLE + RT_2M) | shared_bit(), RW);
    for (uint64_t at = 0; at < 8 * RT_PAGE; at += RT_PAGE)
        map_page(rt_pml4, SPACE + at, (HOLE + at) | shared_bit(), RW);
    map_page(rt_pml4, FAR, (HOLE + BIT(30)) | shared_bit(), RW);
    region_map();
    handle_ve();
}

static bool by_cpu(void)
{
    return hc_config(CONFIG_VE) == 2;
}

/* The number of violations of `accesses` accesses, of which `first` were the first ones to their
 * page. */
static uint64_t violations_of(uint64_t accesses, uint64_t first)
{
    return by_cpu() ? first : accesses;
}

/* X10: the first access costs one violation and one hypercall, and each later one costs one
 * hypercall. */
static void mmio_is_a_hypercall(void)
{
    hc_zap(TESTDEV_A_BASE, 1);
    ve_count = 0;
    struct watch violations = watch(EXITS_VIOLATION), misconfigs = watch(EXITS_MISCONFIG);
    EXPECT_EQ(load2(DEVICE + TESTDEV_IDENT), 'A');
    uint64_t first = watched(violations);
    EXPECT_EQ(first, 1);
    EXPECT_EQ(ve_count, 1);

    violations = watch(EXITS_VIOLATION);
    struct watch exits = watch(COUNTER_EXITS);
    for (unsigned i = 0; i < 50; i++) {
        store2(DEVICE + 8, i);
        load2(DEVICE + 8);
    }
    uint64_t all = watched(exits), later = watched(violations);
    EXPECT_EQ(later, violations_of(100, 0));
    EXPECT_EQ(all - later - ASKING, 100); /* the other exits are the hypercalls */
    EXPECT_EQ(watched(misconfigs), 0);
    EXPECT_EQ(ve_count, 101);
    note("by_cpu", by_cpu());
    note("first_violations", first);
    note("violations_per_100", later);
    note("hypercalls_per_100", all - later - ASKING);
}

/* X9: bit 63 of the entry at which a walk ends decides, at any level. The first access exits,
 * because that entry has bit 63 set; the next one does not, because the MMIO SPTE that was
 * installed has it clear. */
static void bit_63_decides_at_each_level(void)
{
    const uint64_t places[] = {
        SPACE,           /* all tables are missing, except those of other memory */
        SPACE + RT_PAGE, /* the table exists */
        NOWHERE,         /* a table of 4 KiB pages is missing */
        FAR,             /* a table of 2 MiB pages is missing */
    };
    hc_zap(HOLE, 2 * 512);
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        ve_count = 0;
        struct watch violations = watch(EXITS_VIOLATION);
        EXPECT_EQ(load2(places[i]), 0xffffffff);
        EXPECT_EQ(watched(violations), 1);
        violations = watch(EXITS_VIOLATION);
        EXPECT_EQ(load2(places[i]), 0xffffffff);
        EXPECT_EQ(watched(violations), violations_of(1, 0));
        EXPECT_EQ(ve_count, 2);
    }
}

/* X9: the information area has the same contents whether the CPU or the hypervisor fills it. */
static void the_information_is_right(void)
{
    for (unsigned write = 0; write < 2; write++) {
        if (write)
            store2(DEVICE + 0x10, 1);
        else
            load2(DEVICE + 0x10);
        EXPECT_EQ(last_ve.reason, 48);
        EXPECT_EQ(last_ve.busy, 0xffffffff);
        EXPECT_EQ(last_ve.physical_address, (TESTDEV_A_BASE + 0x10) | shared_bit());
        EXPECT_EQ(last_ve.linear_address, DEVICE + 0x10);
        /* the access itself, with a valid linear address */
        EXPECT_EQ(last_ve.qualification & 0x187, 0x180u | (write ? 2 : 1));
        EXPECT_EQ(last_ve.eptp_index, 0);
    }
}

/* F10: memory that replaces MMIO ends the #VEs. */
static void memory_stops_the_ve(void)
{
    for (unsigned round = 0; round < 20; round++) {
        ve_count = 0;
        EXPECT_EQ(load2(SPACE), 0xffffffff);
        EXPECT_EQ(load2(SPACE + RT_PAGE), 0xffffffff);
        EXPECT_EQ(ve_count, 2);
        EXPECT_EQ(hc_slot_add(SLOT, HOLE + RT_PAGE, 1, SLOT_SHARED), 0);
        store2(SPACE + RT_PAGE, round);
        EXPECT_EQ(load2(SPACE + RT_PAGE), round);
        EXPECT_EQ(ve_count, 2);
        EXPECT_EQ(load2(SPACE), 0xffffffff);
        EXPECT_EQ(ve_count, 3);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
        EXPECT_EQ(load2(SPACE + RT_PAGE), 0xffffffff);
        EXPECT_EQ(ve_count, 4);
    }
}

/* A second #VE becomes a double fault if the guest has not freed the information area. */
static volatile unsigned double_faults;
static struct frame interrupted; /* the frame of the first #VE */

static void on_double_fault(struct frame *frame)
{
    double_faults++;
    VE_INFO->busy = 0;
    frame->rip = interrupted.rip + 2;
    frame->rsp = interrupted.rsp;
}

static void ve_inside_ve(struct frame *frame)
{
    interrupted = *frame;
    load2(NOWHERE);
}

static void a_second_ve_is_a_double_fault(void)
{
    static uint8_t stack[4096] __attribute__((aligned(16)));
    double_faults = 0;
    set_handler(VECTOR_VE, ve_inside_ve);
    set_handler(VECTOR_DF, on_double_fault);
    set_stack(VECTOR_DF, (uint64_t)(stack + sizeof(stack)));
    load2(DEVICE);
    handle_ve();
    set_handler(VECTOR_DF, 0);
    EXPECT_EQ(double_faults, 1);
    ve_count = 0;
    EXPECT_EQ(load2(DEVICE + TESTDEV_IDENT), 'A');
    EXPECT_EQ(ve_count, 1);
}

/* A load through the execute-only alias is a #VE with its own qualification; a fetch causes
 * none. */
static void on_code_ve(struct frame *frame)
{
    last_ve = *VE_INFO;
    ve_count++;
    frame->rip += 2;
    VE_INFO->busy = 0;
}

static void code_can_only_be_fetched(void)
{
    volatile uint8_t *plain = (volatile uint8_t *)(uintptr_t)REGION;
    const uint8_t code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov $42, %eax; ret */
    for (unsigned i = 0; i < sizeof(code); i++)
        plain[i] = code[i];
    uint32_t (*function)(void) = (uint32_t(*)(void))(uintptr_t)CODE;
    set_handler(VECTOR_VE, on_code_ve);
    ve_count = 0;
    EXPECT_EQ(function(), 42);
    EXPECT_EQ(ve_count, 0);
    struct watch violations = watch(EXITS_VIOLATION);
    load2(CODE);
    store2(CODE, 1);
    EXPECT_EQ(watched(violations), violations_of(2, 0));
    EXPECT_EQ(ve_count, 2);
    EXPECT_EQ(last_ve.physical_address, REGION | code_bit());
    /* a store, to a page that allows fetches */
    EXPECT_EQ(last_ve.qualification & 0x3f, 2 | 4 << 3);
    EXPECT_EQ(function(), 42);
    hc_zap(REGION, 1);
    load2(CODE); /* the first access after the zap is a violation */
    EXPECT_EQ(ve_count, 3);
    EXPECT_EQ(function(), 42);
    handle_ve();
}

/* Only MMIO becomes #VE, not the first access to a page, accesses to large pages, or writes to a
 * logged slot. */
static void memory_never_converts(void)
{
    ve_count = 0;
    for (uint64_t at = REGION; at < REGION + 0x400000; at += RT_PAGE)
        write32(at, 1);
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 8, SLOT_SHARED), 0);
    EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
    for (unsigned i = 0; i < 8; i++)
        store2(SPACE + i * RT_PAGE, i);
    EXPECT_EQ(hc_dirty_get(SLOT, 0), 0xff);
    for (unsigned i = 0; i < 8; i++)
        store2(SPACE + i * RT_PAGE, i);
    EXPECT_EQ(hc_dirty_get(SLOT, 0), 0xff);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(ve_count, 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"mmio_is_a_hypercall", mmio_is_a_hypercall, NEED_TESTCTL | NEED_SHARED},
        {"the_information_is_right", the_information_is_right, NEED_TESTCTL | NEED_SHARED},
        {"bit_63_decides_at_each_level", bit_63_decides_at_each_level, NEED_TESTCTL | NEED_SHARED},
        {"memory_stops_the_ve", memory_stops_the_ve, NEED_TESTCTL | NEED_SHARED},
        {"a_second_ve_is_a_double_fault", a_second_ve_is_a_double_fault,
         NEED_TESTCTL | NEED_SHARED},
        {"code_can_only_be_fetched", code_can_only_be_fetched, NEED_TESTCTL | NEED_CODE},
        {"memory_never_converts", memory_never_converts, NEED_TESTCTL | NEED_SHARED},
        {"conversion_storm", conversion_storm, NEED_TESTCTL | NEED_SHARED},
        {"conversion_storm_logged", conversion_storm_logged, NEED_TESTCTL | NEED_SHARED},
    };
    if (under_eptvisor())
        map_windows();
    run_tests(tests, ARRAY_SIZE(tests));
}
