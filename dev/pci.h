/* SPDX-License-Identifier: MIT */
/*
 * PCI functions and the host bridge of a VM (PCI Local Bus 3.0; PCI Express Base 5.0). There is one
 * bus, number 0. Its functions have a configuration space of 256 bytes without extended
 * capabilities, BARs in memory, and interrupts by MSI-X and INTA#.
 *
 * The owner of a function describes it once, while the VM is being created:
 *
 *     pci_function_init(&f, "name", &identity);
 *     pci_add_bar(&f, 0, PCI_BAR_64, 0x1000, &ops, device);
 *     at = pci_add_capability(&f, id, body, size);
 *     pci_add_msix(&f, 1, vectors);
 *     error = pci_add(&host, &f, PCI_DEVFN(3, 0));
 *
 * and raises its interrupts afterwards by pci_msix_raise() if pci_msix_enabled(), else by
 * pci_intx().
 *
 * The bridge forwards the addresses of its window, and no others. So a BAR is decoded if the
 * function's memory space is enabled and all of the BAR lies in the window: never over RAM, the
 * APICs, or the configuration space. Where BARs overlap, the function with the lowest number
 * answers, and in a function the lowest BAR. A BAR that is decoded is a region of the MMIO bus.
 * When the guest moves it, the sequence of the bus changes, which invalidates everything that CPUs
 * cache about the old address. No SPTE changes, because an MMIO SPTE says only that no memslot
 * covers the page. A CPU may still be in an access to the old address when the move returns, so
 * functions exist as long as their VM's guest runs.
 *
 * Any CPU may call the functions for interrupts. The lock of the function is held while a message
 * or the level of a line is sent, and the lock of the host while the bus is changed. A device may
 * hold a lock of its own when it calls, because none of its functions is called with these locks
 * held. Pure.
 */
#pragma once

#include "dev/lapic.h"
#include "dev/line.h"
#include "lib/spinlock.h"
#include "mmio/bus.h"

#define PCI_DEVICES           32u
#define PCI_FUNCTIONS         8u /* of a device */
#define PCI_DEVFN(device, fn) ((device) << 3 | (fn))
#define PCI_BARS              6u
#define PCI_VECTORS           16u /* most MSI-X vectors of a function */
#define PCI_REGIONS           32u /* most BARs of all functions, which are regions of the bus */
#define PCI_LINES             8u  /* lines, to which devices' INTA# pins are wired in turn */

#define PCI_CONFIG_SIZE 0x100u /* of a function, without the extended space */
#define PCI_ECAM_SIZE   (PCI_DEVICES * PCI_FUNCTIONS << 12)
#define PCI_PORTS       4u /* at 0xcf8, the address, and at 0xcfc, the data */

struct pci_identity {
    uint16_t vendor, device;
    uint32_t class_revision; /* class code in bits 31:8, revision in bits 7:0 */
    uint16_t subvendor, subdevice;
};

enum pci_bar_kind {
    PCI_BAR_NONE,
    PCI_BAR_32,
    PCI_BAR_64, /* takes the next BAR, too */
};

struct pci_bar {
    enum pci_bar_kind kind;
    uint64_t size;
    const struct bus_ops *ops;
    void *device;
    uint64_t decoded; /* its address on the bus, or BUS_NOWHERE */
};

/* An entry of the MSI-X table (PCI Express Base 5.0, 7.7.2). */
struct pci_msix_entry {
    uint64_t address;
    uint32_t data;
    uint32_t control; /* bit 0: masked */
};

struct pci_host;

struct pci_function {
    const char *name; /* for messages */
    struct pci_host *host;
    uint8_t devfn;
    bool complained; /* a message about a BAR that is not decoded was logged */

    /* The configuration space, the bits of it that the guest can write, and those that it clears by
     * writing ones. */
    uint8_t config[PCI_CONFIG_SIZE], writable[PCI_CONFIG_SIZE], clears[PCI_CONFIG_SIZE];
    unsigned config_used, last_capability; /* end of the capabilities; offset of the last, or 0 */
    unsigned window;                       /* offset of the window, or 0 */
    const struct bus_ops *window_ops;
    void *window_device;
    struct pci_bar bars[PCI_BARS];

    /* The lock protects the following fields, and the bits of `config` that they use. */
    struct spinlock lock;
    unsigned msix; /* offset of the capability, or 0 */
    unsigned vectors;
    uint32_t pending; /* the PBA: vectors that wait for an unmasking */
    bool intx;        /* the device asserts its INTA# */
    bool asserted;    /* … and its line is asserted for it */
    bool warned;      /* a message that reaches no local APIC was logged */
    struct pci_msix_entry entries[PCI_VECTORS];
};

/* How a host bridge is connected to its VM. */
struct pci_wiring {
    struct bus *bus;       /* the MMIO bus on which BARs appear */
    uint64_t shared;       /* bit that is set in addresses on the bus beyond those in BARs, or 0 */
    uint64_t window, size; /* addresses that the bridge forwards, below 4 GiB */

    /* Sends an interrupt message to the local APICs, as the callback of struct ioapic does. */
    bool (*send)(void *context, const struct lapic_message *message, bool level);
    void *context;
    struct line line; /* the first of PCI_LINES; the others have the numbers that follow */

    /* The reset register, at port 0xcf9; doubleword accesses at 0xcf8 do not reach it. */
    const struct bus_ops *reset;
    void *reset_device;
};

struct pci_host {
    struct pci_wiring wiring;
    struct spinlock lock; /* protects writes to configuration spaces, and the BARs' addresses */
    uint32_t address;     /* of mechanism #1: the register at port 0xcf8 */
    uint64_t next;        /* where the next BAR is placed */
    unsigned regions;     /* BARs of all functions */
    struct pci_function bridge;
    struct pci_function *functions[PCI_DEVICES * PCI_FUNCTIONS];

    struct spinlock lines_lock;
    uint32_t lines[PCI_LINES]; /* bit n: device n asserts the line */
};

/* The mechanisms by which the guest reaches the configuration spaces. The device of each is the
 * struct pci_host. */
extern const struct bus_ops pci_address_ops; /* PCI_PORTS ports at 0xcf8 */
extern const struct bus_ops pci_data_ops;    /* PCI_PORTS ports at 0xcfc */
extern const struct bus_ops pci_ecam_ops;    /* PCI_ECAM_SIZE bytes of memory */

/* Initializes the host with the bridge, which is function 0 of device 0. */
void pci_host_init(struct pci_host *host, const struct pci_wiring *wiring);

/* ---- Describing a function ------------------------------------------------------------------- */

/* Begins a function that has an INTA# and nothing else. `name` must outlive the function. */
void pci_function_init(struct pci_function *f, const char *name,
                       const struct pci_identity *identity);

/* Adds a BAR. Its size is a power of two, from 16 bytes to the size of the window. `ops` and
 * `device` are given to the MMIO bus; with several vCPUs they are those of a locked_device. */
void pci_add_bar(struct pci_function *f, unsigned bar, enum pci_bar_kind kind, uint64_t size,
                 const struct bus_ops *ops, void *device);

/* Adds a capability, whose `size` bytes of `body` follow its ID and its pointer to the next one.
 * The guest can't write it. Returns its offset, which is a multiple of 4. */
unsigned pci_add_capability(struct pci_function *f, uint8_t id, const void *body, unsigned size);

/* Lets the guest write `size` bytes of the configuration space, which have no effect. */
void pci_make_writable(struct pci_function *f, unsigned offset, unsigned size);

/* Passes accesses to 4 aligned bytes of the configuration space to `ops`, at the offsets 0 to 3. No
 * lock is held during the call. A function has at most one such window. */
void pci_add_window(struct pci_function *f, unsigned offset, const struct bus_ops *ops,
                    void *device);

/* Adds MSI-X with up to PCI_VECTORS vectors. The table and the PBA have a 32-bit BAR of their own,
 * of PCI_MSIX_SIZE bytes. */
#define PCI_MSIX_SIZE 0x1000u
#define PCI_MSIX_PBA  0x800u /* offset of the PBA; the table is at 0 */
void pci_add_msix(struct pci_function *f, unsigned bar, unsigned vectors);

/* Puts a function that is described completely on the bus, and places its BARs in the window, as a
 * firmware would; memory space is not enabled yet. Several functions of one device are added from
 * function 0 on. Called before the guest runs. Returns 0, or, after a message, -EEXIST if there is
 * such a function, or -ENOSPC if the window is full, or there are more BARs than PCI_REGIONS. */
int pci_add(struct pci_host *host, struct pci_function *f, unsigned devfn) MUST_CHECK;

/* ---- A function at work ---------------------------------------------------------------------- */

/* Reads up to 4 bytes of the configuration space, as the guest last wrote them. Does not call the
 * window's `ops`. */
uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size);

/* Returns whether the function may access memory (Bus Master Enable). Without this right it does
 * not send messages either: their vectors stay pending. */
bool pci_is_master(const struct pci_function *f);

/* Notes in the status register that an access to memory was refused: Received Master Abort. */
void pci_master_abort(struct pci_function *f);

/* Returns whether the guest has enabled MSI-X. If so, INTA# is not used. */
bool pci_msix_enabled(const struct pci_function *f);

/* Sends the message of a vector. If MSI-X is disabled, or the vector or the function is masked, the
 * vector becomes pending, and the message is sent when that changes. A vector that does not exist
 * is ignored. */
void pci_msix_raise(struct pci_function *f, unsigned vector);

/* Sets *message to the message that a vector would send now. Returns false if it would send none.
 * Takes no lock: if the guest changes the entry meanwhile, the message may be a mixture of both
 * values. */
bool pci_msix_message(const struct pci_function *f, unsigned vector,
                      struct lapic_message *message) MUST_CHECK;

/* Sets the level of the function's INTA#. The interrupt status bit shows the level. The line
 * follows it unless the guest has disabled INTx or enabled MSI-X. */
void pci_intx(struct pci_function *f, bool level);

/* Returns the number of the line to which INTA# of a device is wired: 0 to PCI_LINES - 1. */
static inline unsigned pci_line(unsigned devfn)
{
    return (devfn >> 3) % PCI_LINES;
}
