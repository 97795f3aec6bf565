/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk on the PCI bus, used as a driver of the PCI transport uses it: found by its vendor
 * and its capabilities, with MSI-X and with INTA#, moved while it works, and reset; and as no
 * driver should use it. The disk's image is an ELF file.
 */
#include "guest/programs/disk/driver.h"
#include "guest/programs/pci/config.h"

/* Fields of the common configuration (virtio 1.2, section 4.1.4.3). */
#define DEVICE_SELECT   0x00u
#define DEVICE_FEATURES 0x04u
#define DRIVER_SELECT   0x08u
#define DRIVER_FEATURES 0x0cu
#define CONFIG_VECTOR   0x10u
#define QUEUES          0x12u
#define DEVICE_STATUS   0x14u
#define SELECTED        0x16u
#define Q_SIZE          0x18u
#define Q_VECTOR        0x1au
#define Q_ENABLE        0x1cu
#define Q_NOTIFY        0x1eu
#define Q_TABLE         0x20u
#define Q_AVAILABLE     0x28u
#define Q_USED          0x30u
#define Q_RESET         0x3au
#define COMMON_BYTES    0x3cu

#define NO_VECTOR   0xffffu
#define FEATURES_OK 8u
#define UPPER       0x103u /* VERSION_1, ACCESS_PLATFORM and RING_RESET */
#define LINE_VECTOR (VECTOR + 2)

/* Types of the capabilities. */
enum { COMMON = 1, NOTIFICATIONS, ISR, DEVICE, CONFIG_WINDOW };

static uint32_t function;                /* its configuration space */
static uint32_t bar;                     /* where BAR 0 is now */
static uint32_t offsets[CONFIG_WINDOW];  /* of each structure in BAR 0 */
static uint32_t multiplier;              /* between the notifications of two queues */
static volatile unsigned messages[2];    /* taken: of the queue, and of the configuration */
static volatile unsigned levels, reason; /* INTA# taken, and what the ISR status had then */

static uint32_t capability(unsigned type)
{
    for (uint32_t at = config_read(function + 0x34, 1); at; at = config_read(function + at + 1, 1))
        if (config_read(function + at, 1) == 9 && config_read(function + at + 3, 1) == type)
            return function + at;
    return 0;
}

static uint32_t get(unsigned field, unsigned size)
{
    return config_read(bar + offsets[COMMON] + field, size);
}

static void set(unsigned field, unsigned size, uint32_t value)
{
    config_write(bar + offsets[COMMON] + field, size, value);
}

static uint32_t notification(unsigned queue)
{
    return bar + offsets[NOTIFICATIONS] + queue * multiplier;
}

static void command(uint32_t value)
{
    config_write(function + REG_COMMAND, 2, value);
}

static void place(unsigned field, const volatile void *part)
{
    set(field, 4, (uint32_t)(uintptr_t)part);
    set(field + 4, 4, 0);
}

/* Resets the device and starts it. With MSI-X it uses vector 0 for its queue and 1 for its
 * configuration. */
static void start(bool with_msix)
{
    command(COMMAND_MEM | COMMAND_BUS);
    config_write(find_capability(function, 0x11), 4, with_msix ? (uint32_t)MSIX_ON : 0);
    set(DEVICE_STATUS, 1, 0);
    set(DEVICE_STATUS, 1, 3);
    set(DRIVER_SELECT, 4, 0);
    set(DRIVER_FEATURES, 4, 0);
    set(DRIVER_SELECT, 4, 1);
    set(DRIVER_FEATURES, 4, UPPER);
    set(DEVICE_STATUS, 1, 3 | FEATURES_OK);
    available.flags = available.index = used.index = 0;
    set(SELECTED, 2, 0);
    set(Q_SIZE, 2, SIZE);
    place(Q_TABLE, descriptors);
    place(Q_AVAILABLE, &available);
    place(Q_USED, &used);
    if (with_msix) {
        set(Q_VECTOR, 2, 0);
        set(CONFIG_VECTOR, 2, 1);
    }
    set(Q_ENABLE, 2, 1);
    set(DEVICE_STATUS, 1, STARTED);
    messages[0] = messages[1] = levels = 0;
}

/* Reads the first sector. One vCPU gets the answer before it continues. */
static bool reads(void)
{
    uint16_t end = (uint16_t)(used.index + 1);
    *(volatile uint32_t *)buffer = 0;
    disk_request(0, 0, SECTOR);
    disk_offer(1);
    write32(notification(0), 0);
    return used.index == end && status == 0 && *(volatile uint32_t *)buffer == 0x464c457f;
}

/* ---- Finding it ------------------------------------------------------------------------------ */

static void found(void)
{
    for (uint32_t f = ECAM; f < WINDOW && !function; f += 0x8000)
        if (read32(f) == 0x10421af4)
            function = f;
    if (!EXPECT(function))
        debug_exit(1); /* the other tests would use the host bridge */
    EXPECT_EQ(config_read(function + 8, 4) >> 8, 0x018000); /* mass storage */
    EXPECT(config_read(function + 8, 1) >= 1);              /* no legacy interface */
    EXPECT_EQ(config_read(function + 0x2c, 2), 0x1af4);
    EXPECT_EQ(config_read(function + REG_BAR(0), 4) & 0xf, 4);
    bar = config_read(function + REG_BAR(0), 4) & ~0xfu;
    command(0);
    EXPECT_EQ(read32(bar), ABSENT);
    command(COMMAND_MEM | COMMAND_BUS);
    set_bar(function, 0, ABSENT);
    uint32_t size = ~(config_read(function + REG_BAR(0), 4) & ~0xfu) + 1;
    set_bar(function, 0, bar);
    note("bar", size);
    for (unsigned type = COMMON; type <= DEVICE; type++) {
        uint32_t at = capability(type);
        if (!EXPECT(at))
            continue;
        EXPECT_EQ(config_read(at + 4, 1), 0); /* in BAR 0 */
        offsets[type] = config_read(at + 8, 4);
        EXPECT(offsets[type] + config_read(at + 12, 4) <= size);
    }
    EXPECT(config_read(capability(COMMON) + 12, 4) >= COMMON_BYTES);
    multiplier = config_read(capability(NOTIFICATIONS) + 16, 4);
    EXPECT(capability(CONFIG_WINDOW));
}

/* A field answers to its own width only, and features are negotiated as with MMIO. */
static void common_configuration(void)
{
    set(DEVICE_STATUS, 1, 0);
    set(DEVICE_STATUS, 1, 3);
    EXPECT_EQ(get(DEVICE_STATUS, 1), 3);
    EXPECT_EQ(get(DEVICE_STATUS, 2), 0);
    EXPECT_EQ(get(DEVICE_STATUS, 4), 0);
    set(DEVICE_STATUS, 2, 0);
    EXPECT_EQ(get(DEVICE_STATUS, 1), 3);
    EXPECT_EQ(get(QUEUES, 2), 1);
    set(DEVICE_SELECT, 4, 1);
    EXPECT_EQ(get(DEVICE_FEATURES, 4) & UPPER, UPPER);
    set(DEVICE_SELECT, 4, 2);
    EXPECT_EQ(get(DEVICE_FEATURES, 4), 0);
    set(DEVICE_STATUS, 1, 3 | FEATURES_OK); /* without VERSION_1 */
    EXPECT_EQ(get(DEVICE_STATUS, 1) & FEATURES_OK, 0);
    set(SELECTED, 2, 1);
    EXPECT_EQ(get(Q_SIZE, 2), 0);
    EXPECT_EQ(get(Q_VECTOR, 2), NO_VECTOR);
    set(SELECTED, 2, 0);
    EXPECT(get(Q_SIZE, 2) >= SIZE);
    EXPECT_EQ(get(Q_NOTIFY, 2), 0);
    EXPECT(read32(bar + offsets[DEVICE]) >= BUFFER / SECTOR);
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

static void message(struct frame *frame)
{
    messages[frame->vector - VECTOR]++;
    apic_write(APIC_REG_EOI, 0);
}

static void level(struct frame *frame)
{
    (void)frame;
    reason = config_read(bar + offsets[ISR], 1);
    levels++;
    apic_write(APIC_REG_EOI, 0);
}

static void break_queue(void)
{
    available.ring[available.index % SIZE] = SIZE;
    available.index++;
    write32(notification(0), 0);
}

static void msix(void)
{
    const uint32_t control = find_capability(function, 0x11);
    EXPECT_EQ(config_read(control + 2, 2) & 0x7ff, 1); /* two vectors */
    EXPECT_EQ(config_read(control + 4, 4) & 7, 2);     /* in BAR 2 */
    table_0 = config_read(function + REG_BAR(2), 4) & ~0xfu;
    set_vector(0, 0, false);
    set_vector(1, 0, false);
    start(true);
    EXPECT(reads());
    let_in();
    EXPECT_EQ(messages[0], 1);
    set_vector(0, 0, true);
    EXPECT(reads());
    let_in();
    EXPECT_EQ(messages[0], 1);
    EXPECT_EQ(pending(), 1);
    set_vector(0, 0, false);
    let_in();
    EXPECT_EQ(messages[0], 2);
    set(Q_VECTOR, 2, 2); /* there is none */
    EXPECT_EQ(get(Q_VECTOR, 2), NO_VECTOR);
    EXPECT(reads());
    let_in();
    EXPECT_EQ(messages[0], 2);
    break_queue();
    EXPECT_EQ(get(DEVICE_STATUS, 1), STARTED | NEEDS_RESET);
    let_in();
    EXPECT_EQ(messages[0], 2);
    EXPECT_EQ(messages[1], 1);
    EXPECT_EQ(levels, 0);
}

static void intx(void)
{
    const uint32_t pin = 16 + (function - ECAM) / 0x8000 % 8;
    write32(IOAPIC, 0x10 + 2 * pin);
    write32(IOAPIC + 0x10, (uint32_t)BIT(15) | LINE_VECTOR);
    start(false);
    EXPECT(reads());
    EXPECT_EQ(config_read(function + REG_STATUS, 2) & STATUS_INTX, STATUS_INTX);
    let_in();
    EXPECT_EQ(levels, 1);
    EXPECT_EQ(reason, 1);
    EXPECT_EQ(config_read(function + REG_STATUS, 2) & STATUS_INTX, 0);
    EXPECT_EQ(config_read(bar + offsets[ISR], 1), 0);
    command(COMMAND_MEM | COMMAND_BUS | COMMAND_INTX);
    EXPECT(reads());
    let_in();
    EXPECT_EQ(levels, 1);
    command(COMMAND_MEM | COMMAND_BUS);
    let_in();
    EXPECT_EQ(levels, 2);
    break_queue();
    let_in();
    EXPECT_EQ(levels, 3);
    EXPECT_EQ(reason, 2);
    EXPECT_EQ(messages[0] + messages[1], 0);
}

/* ---- Moves and resets ------------------------------------------------------------------------ */

/* The device works where its BAR is, and nowhere else, also after many accesses in each place. */
static void moves_while_it_works(void)
{
    const uint32_t places[] = {bar + 0x200000, WINDOW_END - 0x4000, bar};
    start(false);
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        for (unsigned n = 0; n < 12; n++)
            EXPECT(reads());
        const uint32_t old = bar, end = (uint16_t)(used.index + 1);
        disk_request(0, 0, SECTOR);
        disk_offer(1);
        bar = places[i];
        set_bar(function, 0, bar);
        write32(old + offsets[NOTIFICATIONS], 0);
        EXPECT_EQ(used.index, (uint16_t)(end - 1));
        EXPECT_EQ(hot_read(old), ABSENT);
        write32(notification(0), 0);
        EXPECT_EQ(used.index, end);
        EXPECT_EQ(get(DEVICE_STATUS, 1), STARTED);
    }
    config_write(function + REG_BAR(1), 4, 1); /* beyond 4 GiB */
    EXPECT_EQ(hot_read(bar + offsets[COMMON]), ABSENT);
    config_write(function + REG_BAR(1), 4, 0);
    command(COMMAND_BUS);
    EXPECT_EQ(hot_read(bar + offsets[COMMON]), ABSENT);
    command(COMMAND_MEM | COMMAND_BUS);
    EXPECT(reads());
}

static void only_as_a_master(void)
{
    start(false);
    command(COMMAND_MEM);
    EXPECT(!reads());
    EXPECT(get(DEVICE_STATUS, 1) & NEEDS_RESET);
    EXPECT(config_read(function + REG_STATUS, 2) & STATUS_ABORT);
    config_write(function + REG_STATUS, 2, STATUS_ABORT);
    start(false);
    EXPECT(reads());
}

static void resets(void)
{
    start(true);
    set(Q_RESET, 2, 1);
    EXPECT_EQ(get(Q_RESET, 2), 0);
    EXPECT_EQ(get(Q_ENABLE, 2), 0);
    EXPECT_EQ(get(DEVICE_STATUS, 1), STARTED);
    EXPECT(!reads());
    used.index = available.index = 0;
    place(Q_TABLE, descriptors);
    place(Q_AVAILABLE, &available);
    place(Q_USED, &used);
    set(Q_SIZE, 2, SIZE);
    set(Q_ENABLE, 2, 1);
    EXPECT(reads());
    set(DEVICE_STATUS, 1, 0);
    EXPECT_EQ(get(DEVICE_STATUS, 1), 0);
    EXPECT_EQ(get(Q_ENABLE, 2), 0);
    EXPECT_EQ(get(Q_VECTOR, 2), NO_VECTOR);
    EXPECT_EQ(get(CONFIG_VECTOR, 2), NO_VECTOR);
    EXPECT(!reads());
    start(false);
    EXPECT(reads());
}

/* The window in the configuration space: what firmware uses before it maps BARs. */
static void window(void)
{
    const uint32_t at = capability(CONFIG_WINDOW);
    start(false);
    command(COMMAND_BUS); /* the window does not need the BAR to be decoded */
    config_write(at + 4, 1, 0);
    config_write(at + 8, 4, offsets[COMMON] + DEVICE_STATUS);
    config_write(at + 12, 4, 1);
    EXPECT_EQ(config_read(at + 16, 1), STARTED);
    EXPECT_EQ(port_config_read(at + 16, 1), STARTED);
    config_write(at + 12, 4, 3); /* no size */
    config_write(at + 16, 4, 0);
    config_write(at + 12, 4, 1);
    EXPECT_EQ(config_read(at + 16, 1), STARTED);
    port_config_write(at + 16, 1, 0);
    EXPECT_EQ(config_read(at + 16, 1), 0);
    start(false);
    EXPECT(reads());
}

/* ---- What no driver should do ---------------------------------------------------------------- */

static uint64_t rnd(void)
{
    static uint64_t seed = 1;
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return seed >> 24;
}

/* An address for the device: its data, or what is not RAM. */
static uint32_t any_address(void)
{
    const uint32_t others[] = {bar, ECAM, APIC, IOAPIC, (uint32_t)rt_ram_end, 0xfffffff0};
    uint64_t n = rnd() % 16;
    return n < ARRAY_SIZE(others) ? others[n]
                                  : (uint32_t)((uintptr_t)buffer + rnd() % (BUFFER - 0x2000));
}

static void random_access(void)
{
    static const unsigned parts[] = {Q_TABLE, Q_AVAILABLE, Q_USED};
    struct descriptor *d = (struct descriptor *)buffer + rnd() % 256;
    switch (rnd() % 8) {
    case 0:
        set(parts[rnd() % 3], 4, any_address() & (rnd() & 1 ? ~0xfu : ~0u));
        break;
    case 1:
        if (rnd() & 1)
            set(DEVICE_STATUS, 1, (uint32_t)rnd());
        else
            start(true);
        break;
    case 2:
        set(rnd() & 1 ? Q_ENABLE : Q_RESET, 2, 1);
        break;
    case 3:
        write32(notification(rnd() % 64 ? 0 : rnd() % 1024), (uint32_t)rnd());
        break;
    case 4:
        *d = (struct descriptor){any_address(), (uint32_t)(rnd() % 0x2000), (uint16_t)(rnd() & 7),
                                 (uint16_t)(rnd() % 40)};
        break;
    case 5: /* all fields but the addresses */
        set((unsigned)(rnd() % Q_TABLE), 1u << rnd() % 3, (uint32_t)rnd());
        break;
    case 6:
        command((uint32_t)rnd() | (rnd() % 8 ? COMMAND_MEM | COMMAND_BUS : 0));
        break;
    default:
        config_write(capability(CONFIG_WINDOW) + 4 * (unsigned)(rnd() % 4), 4,
                     (uint32_t)rnd() & ~0xffu); /* reaches no queue's address */
    }
}

static void hostile(void)
{
    start(true);
    for (unsigned i = 0; i < 3000; i++)
        random_access();
    start(false);
    EXPECT(reads());
    set_bar(function, 0, (uint32_t)(uintptr_t)descriptors & ~0x3fffu); /* RAM stays RAM */
    descriptors[0].length = 16;
    EXPECT_EQ(descriptors[0].length, 16);
    set_bar(function, 0, bar);
    EXPECT(reads());
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"found", found, 0},
        {"common_configuration", common_configuration, 0},
        {"msix", msix, 0},
        {"intx", intx, 0},
        {"moves_while_it_works", moves_while_it_works, 0},
        {"only_as_a_master", only_as_a_master, 0},
        {"resets", resets, 0},
        {"window", window, 0},
        {"hostile", hostile, 0},
    };

    apic_write(APIC_REG_SVR, 0x1ff);
    set_handler(VECTOR, message);
    set_handler(VECTOR + 1, message);
    set_handler(LINE_VECTOR, level);
    run_tests(tests, ARRAY_SIZE(tests));
}
