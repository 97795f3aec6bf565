/* SPDX-License-Identifier: MIT */
/* See the header. Called by the bus, by dev/pci.c and by dev/virtio.c. Pure. */
#include "dev/virtio_pci.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

#define VIRTIO_PCI_NO_LEGACY
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

_Static_assert(VIRTIO_PCI_ISR_CONFIG == VIRTIO_INTERRUPT_CONFIG, "virtio 1.2, section 4.1.4.5");

#define VENDOR       0x1af4u
#define DEVICE       0x1040u /* of a device with the virtio ID 0 */
#define REVISION     1u      /* at least 1: there is no legacy interface (section 4.1.2.1) */
#define SUBSYSTEM    0x40u   /* at least this, for the same reason */
#define CAP_SPECIFIC 0x09u   /* ID of vendor-specific capabilities */

/* BAR 0, and the size of each structure in it. */
#define BAR        0u
#define BAR_SIZE   0x4000u
#define PART       0x1000u
#define COMMON     (0 * PART)
#define ISR        (1 * PART)
#define CONFIG     (2 * PART)
#define NOTIFY     (3 * PART)
#define MULTIPLIER 4u /* bytes between the notification addresses of two queues */

#define COMMON_SIZE (VIRTIO_PCI_COMMON_Q_RESET + 2u)

#define MSIX_BAR 2u /* BAR 0 has 64 bits and takes the next one, too */

/* ---- The common configuration ---------------------------------------------------------------- */

/* Returns the size of the field that begins at `offset`, or 0 if there is none. */
static unsigned field_size(uint64_t offset)
{
    static const uint8_t sizes[COMMON_SIZE] = {
        [VIRTIO_PCI_COMMON_DFSELECT] = 4,  [VIRTIO_PCI_COMMON_DF] = 4,
        [VIRTIO_PCI_COMMON_GFSELECT] = 4,  [VIRTIO_PCI_COMMON_GF] = 4,
        [VIRTIO_PCI_COMMON_MSIX] = 2,      [VIRTIO_PCI_COMMON_NUMQ] = 2,
        [VIRTIO_PCI_COMMON_STATUS] = 1,    [VIRTIO_PCI_COMMON_CFGGENERATION] = 1,
        [VIRTIO_PCI_COMMON_Q_SELECT] = 2,  [VIRTIO_PCI_COMMON_Q_SIZE] = 2,
        [VIRTIO_PCI_COMMON_Q_MSIX] = 2,    [VIRTIO_PCI_COMMON_Q_ENABLE] = 2,
        [VIRTIO_PCI_COMMON_Q_NOFF] = 2,    [VIRTIO_PCI_COMMON_Q_DESCLO] = 4,
        [VIRTIO_PCI_COMMON_Q_DESCHI] = 4,  [VIRTIO_PCI_COMMON_Q_AVAILLO] = 4,
        [VIRTIO_PCI_COMMON_Q_AVAILHI] = 4, [VIRTIO_PCI_COMMON_Q_USEDLO] = 4,
        [VIRTIO_PCI_COMMON_Q_USEDHI] = 4,  [VIRTIO_PCI_COMMON_Q_NDATA] = 2,
        [VIRTIO_PCI_COMMON_Q_RESET] = 2,
    };
    return offset < COMMON_SIZE ? sizes[offset] : 0;
}

/* The number of a 32-bit half among those of the queue's addresses. */
static unsigned address_word(uint64_t offset)
{
    return (unsigned)(offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 4;
}

/* Reads a register of the selected queue. A queue that does not exist has the size 0. */
static uint32_t queue_read(const struct virtio_pci *p, uint64_t offset)
{
    const struct virtq *queue = virtio_queue(p->virtio, p->queue);
    if (!queue)
        return offset == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return queue->size;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        return p->vectors[p->queue];
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return queue->ready;
    case VIRTIO_PCI_COMMON_Q_NOFF:
        return p->queue;
    case VIRTIO_PCI_COMMON_Q_NDATA:
        return p->queue;
    case VIRTIO_PCI_COMMON_Q_RESET: /* a reset is complete at once */
        return 0;
    default:
        return virtio_read_queue_address(p->virtio, p->queue, address_word(offset));
    }
}

static uint32_t common_read(const struct virtio_pci *p, uint64_t offset)
{
    const struct virtio *v = p->virtio;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        return p->device_half;
    case VIRTIO_PCI_COMMON_DF:
        return virtio_read_features(v, p->device_half);
    case VIRTIO_PCI_COMMON_GFSELECT:
        return p->driver_half;
    case VIRTIO_PCI_COMMON_GF:
        return p->driver_half > 1 ? 0 : (uint32_t)(v->driver_features >> 32 * p->driver_half);
    case VIRTIO_PCI_COMMON_MSIX:
        return p->vectors[VIRTIO_SOURCE_CONFIG];
    case VIRTIO_PCI_COMMON_NUMQ:
        return v->ops->queues;
    case VIRTIO_PCI_COMMON_STATUS:
        return v->status;
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return v->generation;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        return p->queue;
    default:
        return queue_read(p, offset);
    }
}

/* A vector that does not exist cannot be chosen, which the driver sees by reading it back. */
static void choose_vector(struct virtio_pci *p, unsigned source, uint32_t vector)
{
    p->vectors[source] =
        vector < p->function.vectors ? (uint16_t)vector : (uint16_t)VIRTIO_MSI_NO_VECTOR;
}

static void forget_vectors(struct virtio_pci *p)
{
    for (unsigned i = 0; i < ARRAY_SIZE(p->vectors); i++)
        p->vectors[i] = VIRTIO_MSI_NO_VECTOR;
}

/* Writes a register of the selected queue. The driver disables a queue only by a reset. */
static void queue_write(struct virtio_pci *p, uint64_t offset, uint32_t value)
{
    struct virtio *v = p->virtio;
    if (!virtio_queue(v, p->queue))
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        virtio_write_queue_size(v, p->queue, value);
        break;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        choose_vector(p, p->queue, value);
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        if (value == 1)
            virtio_enable_queue(v, p->queue, true);
        break;
    case VIRTIO_PCI_COMMON_Q_RESET:
        if (value == 1 && virtio_reset_queue(v, p->queue))
            p->vectors[p->queue] = VIRTIO_MSI_NO_VECTOR;
        break;
    case VIRTIO_PCI_COMMON_Q_NOFF:
    case VIRTIO_PCI_COMMON_Q_NDATA:
        break;
    default:
        virtio_write_queue_address(v, p->queue, address_word(offset), value);
    }
}

static void common_write(struct virtio_pci *p, uint64_t offset, uint32_t value)
{
    struct virtio *v = p->virtio;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        p->device_half = value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        p->driver_half = value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        virtio_write_features(v, p->driver_half, value);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        choose_vector(p, VIRTIO_SOURCE_CONFIG, value);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        if (!value)
            forget_vectors(p);
        virtio_write_status(v, (uint8_t)value);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        p->queue = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_DF:
    case VIRTIO_PCI_COMMON_NUMQ:
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        break;
    default:
        queue_write(p, offset, value);
    }
}

/* ---- BAR 0 ----------------------------------------------------------------------------------- */

static uint32_t isr_read(struct virtio_pci *p)
{
    uint32_t interrupts = p->virtio->interrupts;
    virtio_acknowledge(p->virtio, interrupts);
    return interrupts;
}

static uint64_t virtio_pci_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset,
                                unsigned size)
{
    struct virtio_pci *p = device;
    uint64_t at = offset % PART;
    (void)vcpu;
    switch (offset - at) {
    case COMMON:
        return field_size(at) == size ? common_read(p, at) : 0;
    case ISR:
        return at == 0 ? isr_read(p) : 0;
    case CONFIG:
        return virtio_read_config(p->virtio, at, size);
    default:
        return 0;
    }
}

static void virtio_pci_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                             uint64_t value)
{
    struct virtio_pci *p = device;
    uint64_t at = offset % PART;
    (void)vcpu;
    if (offset >= NOTIFY && at % MULTIPLIER == 0)
        virtio_notify(p->virtio, (unsigned)(at / MULTIPLIER));
    else if (offset < COMMON + PART && field_size(at) == size)
        common_write(p, at, (uint32_t)value);
}

const struct bus_ops virtio_pci_ops = {
    .name = "virtio", .read = virtio_pci_read, .write = virtio_pci_write, .sizes = 1 | 2 | 4};

/* ---- The window ------------------------------------------------------------------------------ */

/* Sets *offset and *size to what the capability selects in BAR 0. Returns false if this is no
 * aligned access of 1, 2 or 4 bytes in it (section 4.1.4.9.1). */
static bool window_selects(struct virtio_pci *p, uint64_t *offset, unsigned *size)
{
    struct pci_function *f = &p->function;
    *offset = pci_config_read(f, p->window + VIRTIO_PCI_CAP_OFFSET, 4);
    *size = pci_config_read(f, p->window + VIRTIO_PCI_CAP_LENGTH, 4);
    return pci_config_read(f, p->window + VIRTIO_PCI_CAP_BAR, 1) == BAR &&
           (*size == 1 || *size == 2 || *size == 4) && *offset % *size == 0 && *offset < BAR_SIZE;
}

static uint64_t window_read(void *device, struct mmio_vcpu *vcpu, uint64_t at, unsigned size)
{
    struct virtio_pci *p = device;
    uint64_t offset;
    unsigned selected;
    (void)size;
    if (!window_selects(p, &offset, &selected))
        return 0;
    return p->ops->read(p->device, vcpu, offset, selected) >> 8 * at;
}

/* The write must have all the bytes that are selected. */
static void window_write(void *device, struct mmio_vcpu *vcpu, uint64_t at, unsigned size,
                         uint64_t value)
{
    struct virtio_pci *p = device;
    uint64_t offset;
    unsigned selected;
    if (window_selects(p, &offset, &selected) && at == 0 && size >= selected)
        p->ops->write(p->device, vcpu, offset, selected, value & BITS(8 * selected - 1, 0));
}

static const struct bus_ops window_ops = {
    .name = "virtio window", .read = window_read, .write = window_write};

/* ---- What the device needs ------------------------------------------------------------------- */

static struct virtio_pci *pci_of(struct virtio *virtio)
{
    return virtio->transport;
}

static void virtio_pci_send(struct virtio *virtio, unsigned source)
{
    struct virtio_pci *p = pci_of(virtio);
    if (p->vectors[source] != VIRTIO_MSI_NO_VECTOR && pci_msix_enabled(&p->function))
        pci_msix_raise(&p->function, p->vectors[source]);
}

/* With MSI-X the driver never reads the ISR status, so the level changes once. */
static void virtio_pci_set_line(void *context, unsigned number, bool level)
{
    struct virtio_pci *p = context;
    (void)number;
    if (level != p->intx)
        pci_intx(&p->function, level);
    p->intx = level;
}

/* Returns true if the device may access memory. */
static bool may_access(struct virtio_pci *p)
{
    if (pci_is_master(&p->function))
        return true;
    log_error("%s: it has to access memory, but its driver has not made it a bus master",
              p->virtio->ops->name);
    pci_master_abort(&p->function);
    return false;
}

static int virtio_pci_dma_read(void *context, uint64_t address, void *buffer, size_t size)
{
    struct virtio_pci *p = context;
    return may_access(p) ? dma_read(&p->dma, address, buffer, size) : -EPERM;
}

static int virtio_pci_dma_write(void *context, uint64_t address, const void *buffer, size_t size)
{
    struct virtio_pci *p = context;
    return may_access(p) ? dma_write(&p->dma, address, buffer, size) : -EPERM;
}

static bool virtio_pci_would_send(const struct virtio *virtio, unsigned queue,
                                  struct lapic_message *message)
{
    const struct virtio_pci *p = virtio->transport;
    return pci_msix_message(&p->function, p->vectors[queue], message);
}

/* ---- Describing the function ----------------------------------------------------------------- */

static uint32_t class_of(uint32_t id)
{
    switch (id) {
    case VIRTIO_ID_BLOCK:
        return 0x018000; /* mass storage, other */
    case VIRTIO_ID_NET:
        return 0x020000; /* Ethernet */
    case VIRTIO_ID_CONSOLE:
        return 0x078000; /* communication, other */
    default:
        return 0xff0000; /* in no class */
    }
}

/* Adds a capability with its first `size` bytes, and returns its offset. */
static unsigned add_structure(struct virtio_pci *p, uint8_t type, uint32_t offset, uint32_t length,
                              uint32_t more, unsigned size)
{
    struct {
        struct virtio_pci_cap cap;
        uint32_t more; /* the multiplier, or the data of the window */
    } structure = {{.cap_len = (uint8_t)size, .cfg_type = type, .bar = BAR}, more};
    structure.cap.offset = offset;
    structure.cap.length = length;
    return pci_add_capability(&p->function, CAP_SPECIFIC, &structure.cap.cap_len, size - 2);
}

static void add_window(struct virtio_pci *p)
{
    p->window =
        add_structure(p, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0, sizeof(struct virtio_pci_cfg_cap));
    pci_make_writable(&p->function, p->window + VIRTIO_PCI_CAP_BAR, 1);
    pci_make_writable(&p->function, p->window + VIRTIO_PCI_CAP_OFFSET, 8);
    pci_add_window(&p->function, p->window + sizeof(struct virtio_pci_cap), &window_ops, p);
}

static void add_structures(struct virtio_pci *p)
{
    const unsigned size = sizeof(struct virtio_pci_cap), queues = p->virtio->ops->queues;
    add_structure(p, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, COMMON_SIZE, 0, size);
    add_structure(p, VIRTIO_PCI_CAP_ISR_CFG, ISR, 1, 0, size);
    if (p->virtio->config_size)
        add_structure(p, VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG, (uint32_t)p->virtio->config_size, 0,
                      size);
    add_structure(p, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, queues * MULTIPLIER, MULTIPLIER,
                  sizeof(struct virtio_pci_notify_cap));
    add_window(p);
}

void virtio_pci_init(struct virtio_pci *p, struct virtio *virtio, const struct bus_ops *ops,
                     void *device)
{
    const struct pci_identity identity = {.vendor = VENDOR,
                                          .device = (uint16_t)(DEVICE + virtio->ops->id),
                                          .class_revision =
                                              class_of(virtio->ops->id) << 8 | REVISION,
                                          .subvendor = VENDOR,
                                          .subdevice = SUBSYSTEM};
    *p = (struct virtio_pci){.virtio = virtio, .dma = virtio->dma, .ops = ops, .device = device};
    pci_function_init(&p->function, virtio->ops->name, &identity);
    pci_add_bar(&p->function, BAR, PCI_BAR_64, BAR_SIZE, ops, device);
    pci_add_msix(&p->function, MSIX_BAR, virtio->ops->queues + 1);
    add_structures(p);
    forget_vectors(p);
    virtio->dma = (struct dma){virtio_pci_dma_read, virtio_pci_dma_write, p};
    virtio->line = (struct line){virtio_pci_set_line, p, 0};
    virtio->transport = p;
    virtio->message = virtio_pci_send;
    virtio->would_send = virtio_pci_would_send;
    virtio->features |= BIT(VIRTIO_F_RING_RESET);
}
