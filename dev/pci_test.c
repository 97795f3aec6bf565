/* SPDX-License-Identifier: MIT */
#include "dev/pci_test.h"

static uint64_t registers_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    const struct pci_test *t = device;
    (void)vcpu, (void)size;
    switch (offset) {
    case PCI_TEST_SCRATCH:
        return READ_ONCE(t->scratch);
    case PCI_TEST_LEVEL:
        return READ_ONCE(t->level);
    default:
        return 0;
    }
}

static void registers_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                            uint64_t value)
{
    struct pci_test *t = device;
    (void)vcpu, (void)size;
    switch (offset) {
    case PCI_TEST_SCRATCH:
        WRITE_ONCE(t->scratch, (uint32_t)value);
        break;
    case PCI_TEST_RAISE:
        pci_msix_raise(&t->function, (unsigned)value);
        break;
    case PCI_TEST_LEVEL:
        WRITE_ONCE(t->level, value & 1);
        pci_intx(&t->function, value & 1);
        break;
    case PCI_TEST_ABORT:
        pci_master_abort(&t->function);
        break;
    default:
        break;
    }
}

static const struct bus_ops registers_ops = {
    .name = "PCI test", .read = registers_read, .write = registers_write, .sizes = 4};

static uint64_t wide_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    (void)device, (void)vcpu, (void)size;
    return offset;
}

static void wide_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    struct pci_test *t = device;
    (void)vcpu, (void)offset, (void)size;
    WRITE_ONCE(t->scratch, (uint32_t)value);
}

static const struct bus_ops wide_ops = {
    .name = "PCI test (wide)", .read = wide_read, .write = wide_write};

int pci_test_add(struct pci_test test[PCI_TEST_FUNCTIONS], struct pci_host *host)
{
    int error = 0;
    for (unsigned i = 0; i < PCI_TEST_FUNCTIONS && !error; i++) {
        struct pci_function *f = &test[i].function;
        const struct pci_identity identity = {.vendor = PCI_TEST_VENDOR,
                                              .device = (uint16_t)(PCI_TEST_ID + i),
                                              .class_revision = 0xff000001,
                                              .subvendor = PCI_TEST_VENDOR,
                                              .subdevice = (uint16_t)i};
        pci_function_init(f, "test function", &identity);
        pci_add_bar(f, 0, PCI_BAR_32, PCI_TEST_SIZE, &registers_ops, &test[i]);
        if (i == 0) {
            pci_add_msix(f, 1, PCI_TEST_VECTORS);
            pci_add_bar(f, 2, PCI_BAR_64, PCI_TEST_WIDE_SIZE, &wide_ops, &test[i]);
        }
        error = pci_add(host, f, PCI_DEVFN(PCI_TEST_DEVICE, i));
    }
    return error;
}
