/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport (virtio 1.2, section 4.1), without the legacy interface: a PCI function whose
 * vendor-specific capabilities say where in its BAR 0 the driver finds each structure:
 *
 *   0x0000  the common configuration: features, status, and the registers of the selected queue
 *   0x1000  the ISR status, whose read acknowledges the interrupts of INTA#
 *   0x2000  the configuration space of the device type
 *   0x3000  the notifications: a doubleword for each queue, in which a write of any value notifies
 *
 * A field of the common configuration is accessed by its own width, and one of 64 bits by its
 * halves. A read of any other kind returns 0, and a write is dropped. The fifth capability is a
 * window in the PCI configuration space onto BAR 0, for firmware that cannot map it.
 *
 * With MSI-X, the driver chooses a vector for each queue and one for the configuration. The device
 * accesses memory only while the function is a bus master.
 */
#pragma once

#include "dev/pci.h"
#include "dev/virtio.h"

struct virtio_pci {
    struct virtio *virtio;
    struct pci_function function;
    struct dma dma;                      /* the device's, for use by a bus master */
    const struct bus_ops *ops;           /* of BAR 0 */
    void *device;                        /* for `ops` */
    unsigned window;                     /* offset of the capability with the window */
    uint32_t device_half, driver_half;   /* selected by the driver */
    uint16_t queue;                      /* likewise */
    uint16_t vectors[VIRTIO_QUEUES + 1]; /* of each queue, and of the configuration */
    bool intx;
};

extern const struct bus_ops virtio_pci_ops;

/* Makes a PCI function of an initialized device, which is then put on the bus by pci_add(). `ops`
 * and `device` are what the MMIO bus gets for BAR 0: virtio_pci_ops and `pci`, or a wrapper of
 * these that serialises the accesses. */
void virtio_pci_init(struct virtio_pci *pci, struct virtio *virtio, const struct bus_ops *ops,
                     void *device);
