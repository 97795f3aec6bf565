/* SPDX-License-Identifier: MIT */
/*
 * How costs grow with the number of slots, of bus regions, and of pages. Each row is
 * `BENCH curve@n`, the better of two runs minus that of an idle one, in ticks of the TSC, which
 * counts instructions on Bochs. tools/scaling.py makes tables and a chart of them.
 */
#include "guest/programs/rt/rt.h"
#include "mmio/bus.h"

#define SLOT   8u /* the first slot */
#define BASE   0x100000000ull
#define STRAY  (BASE + 0x40000000) /* the address of a slot above all others */
#define DEVICE ((uint64_t)TESTDEV_A_BASE)
#define MIB    0x100000ull
#define ROUNDS 2u

typedef void step(uint64_t argument);

static void nothing(uint64_t argument)
{
    (void)argument;
}

/* A hypercall that does nothing but the common path. */
static void ask(uint64_t argument)
{
    (void)argument;
    (void)hc_config(CONFIG_AD);
}

static uint32_t best(step *prepare, step *run, uint64_t argument)
{
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < ROUNDS; i++) {
        prepare(argument);
        uint64_t start = rdtsc();
        run(argument);
        uint32_t ticks = (uint32_t)(rdtsc() - start);
        least = ticks < least ? ticks : least;
    }
    return least;
}

static void point(const char *curve, uint64_t n, step *prepare, step *run, step *idle,
                  uint64_t argument)
{
    __asm__ volatile("" : "+r"(prepare), "+r"(run), "+r"(idle));
    uint32_t gross = best(prepare, run, argument), empty = best(nothing, idle, argument);
    EXPECT(gross > empty);
    print("BENCH %s@%lu %u instructions\n", curve, n, gross - empty);
}

static uint64_t va(uint64_t gpa)
{
    return TEST_VA + (gpa - BASE);
}

static void touch(uint64_t gpa)
{
    write64(va(gpa), 1);
}

static void map_window(uint64_t gpa, uint64_t bytes)
{
    for (uint64_t at = gpa; at < gpa + bytes; at += RT_2M)
        map_page(rt_pml4, va(at), at, PTE_P | PTE_W | PTE_PS);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

/* The fault before is in another slot. */
static void drop_after_stray(uint64_t gpa)
{
    EXPECT_EQ(hc_zap(gpa, 1), 0);
    EXPECT_EQ(hc_zap(STRAY, 1), 0);
    touch(STRAY);
}

static uint64_t gpa_of(uint64_t index)
{
    return BASE + 2 * index * RT_PAGE;
}

static void add(uint64_t index)
{
    EXPECT_EQ(hc_slot_add(SLOT + index, gpa_of(index), 1, 0), 0);
}

static void delete (uint64_t index)
{
    EXPECT_EQ(hc_slot_delete(SLOT + index), 0);
}

static void write_device(uint64_t argument)
{
    write32(DEVICE, (uint32_t)argument);
}

/* The access was made before, and then the slots have changed. */
static void replace(uint64_t index)
{
    void (*write)(uint64_t) = write_device;
    /* prevents a copy: the measured instruction itself must run */
    __asm__ volatile("" : "+r"(write));
    for (unsigned i = 0; i < 3; i++)
        write(i);
    add(index);
    delete (index);
}

static void slots(void)
{
    uint64_t have = 0;
    EXPECT_EQ(hc_slot_add(SLOT + 5000, STRAY, 1, 0), 0);
    touch(STRAY);
    for (uint64_t n = 1; n <= 4096; n *= 4) {
        while (have < n)
            add(have++);
        touch(gpa_of(n / 2));
        point("slot_fault", n, drop_after_stray, touch, nothing, gpa_of(n / 2));
        point("mmio_write", n, write_device, write_device, nothing, 0);
        point("slot_add", n, delete, add, ask, n / 2);
        delete (n / 2);
        point("slot_delete", n, add, delete, ask, n / 2);
        point("mmio_after_slot", n, replace, write_device, nothing, n / 2);
        add(n / 2);
    }
    for (uint64_t i = have; i-- > 0;)
        delete (i);
    EXPECT_EQ(hc_slot_delete(SLOT + 5000), 0);
}

/* ---- The bus --------------------------------------------------------------------------------- */

/* The hypervisor's bus is compiled into this program, with room for this many regions. Its table of
 * pieces is filled by hand: regions that do not overlap are pieces. */
static struct bus bus = {.name = "scale", .last = ~0ull, .sequence = 2};

static uint64_t read_register(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)device, (void)vcpu, (void)size;
    return offset;
}

static const struct bus_ops ops = {.name = "register", .read = read_register};

static void read_bus(uint64_t address)
{
    (void)bus_read(&bus, NULL, address, 4);
}

static void regions(void)
{
    for (uint64_t n = 1; n <= BUS_REGIONS; n *= 4) {
        for (uint64_t i = bus.piece_count; i < n; i++) {
            uint64_t first = 2 * i * RT_PAGE, last = first + RT_PAGE - 1;
            bus.pieces[i] = (struct bus_piece){first, last, {first, last, &ops, NULL}};
        }
        bus.piece_count = (uint32_t)n;
        EXPECT_EQ(bus_read(&bus, NULL, gpa_of(n / 2) - BASE + 16, 4), 16);
        point("bus_read", n, nothing, read_bus, nothing, gpa_of(n / 2) - BASE);
    }
}

/* ---- Pages ----------------------------------------------------------------------------------- */

static uint64_t bytes, stride; /* the size of the slot, and of its leaves */

static void touch_all(uint64_t gpa)
{
    for (uint64_t at = gpa; at < gpa + bytes; at += stride)
        touch(at);
}

static void zap(uint64_t gpa)
{
    EXPECT_EQ(hc_zap(gpa, bytes / RT_PAGE), 0);
}

static void harvest(uint64_t gpa)
{
    (void)gpa;
    for (uint64_t page = 0; page < bytes / RT_PAGE; page += 64)
        (void)hc_dirty_get(SLOT, page);
}

static void ask_as_often(uint64_t gpa)
{
    for (uint64_t page = 0; page < bytes / RT_PAGE; page += 64)
        ask(gpa);
}

static void large_pages(void)
{
    stride = RT_2M;
    for (uint64_t mib = 16; mib <= 1024; mib *= 4) {
        bytes = mib * MIB;
        EXPECT_EQ(hc_slot_add(SLOT, BASE, bytes / RT_PAGE, 0), 0);
        point("zap", mib, touch_all, zap, ask, BASE);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
    }
}

/* A slot with a dirty log has small pages only. */
static void dirty_log(void)
{
    stride = RT_PAGE;
    for (uint64_t mib = 1; mib <= 64; mib *= 4) {
        bytes = mib * MIB;
        EXPECT_EQ(hc_slot_add(SLOT, BASE, bytes / RT_PAGE, 0), 0);
        EXPECT_EQ(hc_slot_flags(SLOT, SLOT_LOG_DIRTY), 0);
        point("harvest_dirty", mib, touch_all, harvest, ask_as_often, BASE);
        point("harvest_clean", mib, nothing, harvest, ask_as_often, BASE);
        EXPECT_EQ(hc_slot_delete(SLOT), 0);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"slots", slots, NEED_TESTCTL},
        {"regions", regions, 0},
        {"large_pages", large_pages, NEED_TESTCTL},
        {"dirty_log", dirty_log, NEED_TESTCTL},
    };

    map_window(BASE, 1024 * MIB + RT_2M);
    run_tests(tests, ARRAY_SIZE(tests));
}
