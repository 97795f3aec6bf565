/* SPDX-License-Identifier: MIT */
/*
 * A guest's RAM, both transports of virtio, and a driver that uses one queue of a device as the
 * specification demands, or as a test wants. Include it in one file.
 */
#pragma once

#include "tests/unit/support.h"

#include "dev/virtio_mmio.h"
#include "dev/virtio_pci.h"
#include "lib/errno.h"
#include "lib/bits.h"
#include "mmu/tlb.h"

#define VIRTIO_PCI_NO_LEGACY
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* RAM does not begin at address 0, so that a cleared address is not in RAM. */
#define RAM_BASE 0x10000u
#define RAM_SIZE 0x40000u

static uint8_t guest_ram[RAM_SIZE];
static unsigned dma_accesses;

static inline bool in_ram(uint64_t address, size_t size)
{
    return address >= RAM_BASE && address <= RAM_BASE + RAM_SIZE - size && size <= RAM_SIZE;
}

static int test_dma_read(void *context, uint64_t address, void *buffer, size_t size)
{
    assert_ptr_equal(context, guest_ram);
    dma_accesses++;
    if (!in_ram(address, size))
        return -EFAULT;
    memcpy(buffer, guest_ram + (address - RAM_BASE), size);
    return 0;
}

static int test_dma_write(void *context, uint64_t address, const void *buffer, size_t size)
{
    assert_ptr_equal(context, guest_ram);
    dma_accesses++;
    if (!in_ram(address, size))
        return -EFAULT;
    memcpy(guest_ram + (address - RAM_BASE), buffer, size);
    return 0;
}

static inline void *ram(uint64_t address)
{
    return guest_ram + (address - RAM_BASE);
}

/* ---- What the device calls ------------------------------------------------------------------- */

static bool line_level;
static unsigned line_rises, busy_calls;
static uint32_t queue_number; /* the queue that the driver uses */

static void test_line(void *context, unsigned number, bool level)
{
    assert_ptr_equal(context, &line_level);
    assert_int_equal(number, 16);
    line_rises += level && !line_level;
    line_level = level;
}

static void test_busy(void)
{
    busy_calls++;
}

/* Forgets all that has happened, and gives a device what it needs from its owner. */
static inline void prepare(struct virtio *device)
{
    memset(guest_ram, 0, sizeof(guest_ram));
    line_level = false;
    line_rises = busy_calls = dma_accesses = 0;
    queue_number = 0;
    device->dma = (struct dma){test_dma_read, test_dma_write, guest_ram};
    device->line = (struct line){test_line, &line_level, 16};
    device->busy = test_busy;
}

/* ---- The transport --------------------------------------------------------------------------- */

#define ECAM_ENTRY 0x1000u
#define PCI_COMMON 0x0000u
#define PCI_ISR    0x1000u
#define PCI_CONFIG 0x2000u
#define PCI_NOTIFY 0x3000u

static bool by_pci; /* the transport of the devices that are made from now on */
static struct virtio *virtio;
static struct virtio_mmio mmio;
static struct virtio_pci pci;
static struct pci_host host;
static struct bus bus;
static unsigned messages[3]; /* those of each MSI-X vector */

void tlb_wait_epoch(const void *owner)
{
    (void)owner;
}

static bool test_send(void *context, const struct lapic_message *message, bool level)
{
    assert_ptr_equal(context, messages);
    assert_false(level);
    assert_in_range(message->vector, 0x40, 0x42);
    messages[message->vector - 0x40]++;
    return true;
}

static inline void config_write(unsigned offset, unsigned size, uint32_t value)
{
    pci_ecam_ops.write(&host, NULL, ECAM_ENTRY * pci.function.devfn + offset, size, value);
}

static inline uint32_t config_read(unsigned offset, unsigned size)
{
    return (uint32_t)pci_ecam_ops.read(&host, NULL, ECAM_ENTRY * pci.function.devfn + offset, size);
}

/* Puts an initialized device on a bus. The driver can reach a PCI function, which is a master. */
static inline void connect(struct virtio *device)
{
    const struct pci_wiring wiring = {.bus = &bus,
                                      .window = 0xe0100000,
                                      .size = 0x1000000,
                                      .send = test_send,
                                      .context = messages,
                                      .line = {test_line, &line_level, 16 - 3}};
    virtio = device;
    mmio = (struct virtio_mmio){.virtio = device};
    memset(messages, 0, sizeof(messages));
    if (!by_pci)
        return;
    bus_init(&bus, "mmio", ~0ull);
    pci_host_init(&host, &wiring);
    virtio_pci_init(&pci, device, &virtio_pci_ops, &pci);
    assert_int_equal(pci_add(&host, &pci.function, PCI_DEVFN(3, 0)), 0);
    config_write(4, 2, 6);
}

static inline uint32_t bar_read(uint64_t offset, unsigned size)
{
    return (uint32_t)virtio_pci_ops.read(&pci, NULL, offset, size);
}

static inline void bar_write(uint64_t offset, unsigned size, uint32_t value)
{
    virtio_pci_ops.write(&pci, NULL, offset, size, value);
}

/* The register of the common configuration that stands for one of the MMIO transport, and its size;
 * 0 if there is none. */
static inline unsigned common_register(uint64_t offset, unsigned *at)
{
    static const struct {
        uint64_t mmio;
        unsigned at, size;
    } table[] = {
        {VIRTIO_MMIO_DEVICE_FEATURES_SEL, VIRTIO_PCI_COMMON_DFSELECT, 4},
        {VIRTIO_MMIO_DEVICE_FEATURES, VIRTIO_PCI_COMMON_DF, 4},
        {VIRTIO_MMIO_DRIVER_FEATURES_SEL, VIRTIO_PCI_COMMON_GFSELECT, 4},
        {VIRTIO_MMIO_DRIVER_FEATURES, VIRTIO_PCI_COMMON_GF, 4},
        {VIRTIO_MMIO_STATUS, VIRTIO_PCI_COMMON_STATUS, 1},
        {VIRTIO_MMIO_CONFIG_GENERATION, VIRTIO_PCI_COMMON_CFGGENERATION, 1},
        {VIRTIO_MMIO_QUEUE_SEL, VIRTIO_PCI_COMMON_Q_SELECT, 2},
        {VIRTIO_MMIO_QUEUE_NUM, VIRTIO_PCI_COMMON_Q_SIZE, 2},
        {VIRTIO_MMIO_QUEUE_READY, VIRTIO_PCI_COMMON_Q_ENABLE, 2},
        {VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_PCI_COMMON_Q_DESCLO, 4},
        {VIRTIO_MMIO_QUEUE_DESC_HIGH, VIRTIO_PCI_COMMON_Q_DESCHI, 4},
        {VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_PCI_COMMON_Q_AVAILLO, 4},
        {VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_PCI_COMMON_Q_AVAILHI, 4},
        {VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_PCI_COMMON_Q_USEDLO, 4},
        {VIRTIO_MMIO_QUEUE_USED_HIGH, VIRTIO_PCI_COMMON_Q_USEDHI, 4},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        *at = table[i].at;
        if (table[i].mmio == offset)
            return table[i].size;
    }
    return 0;
}

/* Accesses a register that both transports have, by its offset in the MMIO transport. Reading the
 * interrupt status has no effect. */
static inline uint32_t reg(uint64_t offset)
{
    unsigned at, size = common_register(offset, &at);
    if (!by_pci)
        return (uint32_t)virtio_mmio_ops.read(&mmio, NULL, offset, 4);
    if (offset == VIRTIO_MMIO_INTERRUPT_STATUS)
        return virtio->interrupts;
    if (offset >= VIRTIO_MMIO_CONFIG)
        return bar_read(PCI_CONFIG + offset - VIRTIO_MMIO_CONFIG, 4);
    return size ? bar_read(at, size) : 0;
}

static inline void set_reg(uint64_t offset, uint32_t value)
{
    unsigned at, size = common_register(offset, &at);
    if (!by_pci)
        virtio_mmio_ops.write(&mmio, NULL, offset, 4, value);
    else if (offset == VIRTIO_MMIO_INTERRUPT_ACK)
        (void)bar_read(PCI_ISR, 1);
    else if (offset == VIRTIO_MMIO_QUEUE_NOTIFY)
        bar_write(PCI_NOTIFY + value % 0x400 * 4, 2, value);
    else if (size)
        bar_write(at, size, value);
}

/* ---- The driver ------------------------------------------------------------------------------ */

#define DESCRIPTORS RAM_BASE
#define AVAILABLE   (RAM_BASE + 0x1000)
#define USED        (RAM_BASE + 0x2000)
#define INDIRECT    (RAM_BASE + 0x3000)
#define BUFFERS     (RAM_BASE + 0x10000)

#define STATUS_STARTED                                                                    \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
     VIRTIO_CONFIG_S_DRIVER_OK)

static uint16_t queue_size;
static uint16_t made_available, seen_used;

static inline struct vring_desc *descriptor(unsigned i)
{
    return (struct vring_desc *)ram(DESCRIPTORS) + i;
}

static inline struct vring_avail *available(void)
{
    return ram(AVAILABLE);
}

static inline struct vring_used *used(void)
{
    return ram(USED);
}

static inline void put_features(uint64_t features)
{
    for (uint32_t half = 0; half < 2; half++) {
        set_reg(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        set_reg(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * half));
    }
}

#define NEEDED (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM))

static inline void place_queue(uint16_t size, uint64_t descriptors, uint64_t avail, uint64_t u)
{
    set_reg(VIRTIO_MMIO_QUEUE_SEL, queue_number);
    set_reg(VIRTIO_MMIO_QUEUE_NUM, size);
    set_reg(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)descriptors);
    set_reg(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(descriptors >> 32));
    set_reg(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)avail);
    set_reg(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(avail >> 32));
    set_reg(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)u);
    set_reg(VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(u >> 32));
    set_reg(VIRTIO_MMIO_QUEUE_READY, 1);
    queue_size = size;
    made_available = seen_used = 0;
}

/* Initializes the device as section 3.1 of the specification demands. */
static inline void start_driver(uint64_t features, uint16_t size)
{
    set_reg(VIRTIO_MMIO_STATUS, 0);
    set_reg(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    set_reg(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    put_features(NEEDED | features);
    set_reg(VIRTIO_MMIO_STATUS, STATUS_STARTED & ~VIRTIO_CONFIG_S_DRIVER_OK);
    assert_true(reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
    memset(ram(DESCRIPTORS), 0, 0x4000);
    place_queue(size, DESCRIPTORS, AVAILABLE, USED);
    set_reg(VIRTIO_MMIO_STATUS, STATUS_STARTED);
}

static inline void describe(struct vring_desc *d, uint64_t address, uint32_t length, unsigned flags,
                            unsigned next)
{
    *d = (struct vring_desc){address, length, (uint16_t)flags, (uint16_t)next};
}

static inline void make_available(unsigned head)
{
    available()->ring[made_available++ % queue_size] = (uint16_t)head;
    available()->idx = made_available;
}

static inline void notify(void)
{
    set_reg(VIRTIO_MMIO_QUEUE_NOTIFY, queue_number);
}

/* Returns the next used element, which must exist. */
static inline struct vring_used_elem take_used(void)
{
    assert_int_not_equal(used()->idx, seen_used);
    return used()->ring[seen_used++ % queue_size];
}

static inline bool needs_reset(void)
{
    return reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static inline bool said(const char *text)
{
    return strstr(support_log(), text);
}

/* Runs the tests with devices on MMIO, and then on PCI. Evaluates to the number of failures. */
#define RUN_BY_BOTH_TRANSPORTS(tests)                            \
    ({                                                           \
        by_pci = false;                                          \
        int by_mmio = cmocka_run_group_tests(tests, NULL, NULL); \
        by_pci = true;                                           \
        by_mmio + cmocka_run_group_tests(tests, NULL, NULL);     \
    })
