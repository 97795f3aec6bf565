/* SPDX-License-Identifier: MIT */
/* The virtio devices of a VM: which it has, where they lie, and which interrupts they raise. */
#include "launch/virtio_devices.h"

#include "launch/devices.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"
#include "vm/vm.h"

/* Makes an initialized device the next function on the VM's PCI bus. */
static int unit_add_pci(struct vm *vm, struct virtio_unit *unit)
{
    struct virtio_pci *pci = &unit->pci;
    locked_device_init(&unit->locked, &virtio_pci_ops, pci);
    virtio_pci_init(pci, unit->virtio, &unit->locked.ops, &unit->locked);
    return pci_add(&vm->pci, &pci->function, PCI_DEVFN(vm->unit_count, 0));
}

/* Connects an initialized device by the VM's transport, and adds it to the VM's list. `address` is
 * where the MMIO transport has its registers. */
static int unit_add(struct vm *vm, struct virtio_unit *unit, uint64_t address)
{
    const struct device device = {.bus = &vm->mmio_bus,
                                  .start = address,
                                  .size = VIRTIO_MMIO_SIZE,
                                  .ops = &virtio_mmio_ops,
                                  .device = &unit->mmio,
                                  .locked = &unit->locked};
    vm->units[vm->unit_count++] = unit;
    return vm->words.pci ? unit_add_pci(vm, unit) : device_add(vm, &device);
}

/* ---- Disks ----------------------------------------------------------------------------------- */

#define DISK_ORDER 0 /* of the pages of a struct disk */
_Static_assert(sizeof(struct disk) <= PAGE_SIZE << DISK_ORDER, "a disk's page");

static int disk_create(struct vm *vm, struct disk *disk, const void *image, uint64_t size,
                       bool read_only)
{
    unsigned number = vm->disk_count;
    char serial[VIRTIO_BLK_ID_BYTES];
    snprintf(serial, sizeof(serial), "eptvisor-disk%u", number);
    unit_connect(&disk->unit, vm, &disk->blk.virtio);
    disk->blk.virtio.line = device_line(vm, LINE_VIRTIO + number);
    int error = virtio_blk_init(&disk->blk, image, size, read_only, serial);
    if (error)
        return error;
    vm->disk_count++;
    return unit_add(vm, &disk->unit, GUEST_VIRTIO + number * PAGE_SIZE);
}

int devices_add_disk(struct vm *vm, const void *image, uint64_t size, bool read_only)
{
    if (vm->disk_count == DISKS) {
        log_error("guest %s: more than %u disks", vm->name, DISKS);
        return -ENOSPC;
    }
    if (size < 512) {
        log_error("guest %s: a disk of %lu bytes; it must have a sector of 512", vm->name, size);
        return -EINVAL;
    }
    struct disk **disk = &vm->disks[vm->disk_count];
    if (!*disk) {
        hpa_t page = page_alloc(DISK_ORDER);
        if (page_is_none(page)) {
            log_error("guest %s: no host memory for a disk; %s", vm->name, page_shortage());
            return -ENOMEM;
        }
        *disk = phys_to_virt(page);
        (*disk)->blk.tables = NULL;
    }
    uint8_t ***tables = (*disk)->blk.tables;
    page_clear(*disk, DISK_ORDER);
    (*disk)->blk.tables = tables;
    return disk_create(vm, *disk, image, size, read_only);
}

uint64_t devices_disk_pages(uint64_t size, bool read_only)
{
    return virtio_blk_pages(size, read_only) + BIT(DISK_ORDER);
}

/* ---- The network device ---------------------------------------------------------------------- */

#define NET_ORDER 4 /* of the pages of a struct net */
_Static_assert(sizeof(struct net) <= PAGE_SIZE << NET_ORDER, "a network device's pages");
_Static_assert(GUEST_VIRTIO + DISKS * PAGE_SIZE <= GUEST_VIRTIO_NET, "its registers");

uint64_t devices_net_pages(void)
{
    return BIT(NET_ORDER);
}

static enum exit_code net_add(struct vm *vm)
{
    hpa_t pages = page_alloc(NET_ORDER);
    if (page_is_none(pages)) {
        log_error("guest %s: no host memory for its network device; %s", vm->name, page_shortage());
        return EXIT_NO_MEMORY;
    }
    struct net *net = phys_to_virt(pages);
    page_clear(net, NET_ORDER);
    net_connect(net, vm);
    net->device.virtio.line = device_line(vm, LINE_NET);
    if (virtio_net_init(&net->device)) {
        page_free(pages, NET_ORDER);
        return EXIT_MODULE_WORDS;
    }
    vm->net = net;
    return unit_add(vm, &net->unit, GUEST_VIRTIO_NET) ? EXIT_NO_MEMORY : EXIT_OK;
}

/* ---- The console, and the entropy device ----------------------------------------------------- */

static int hvc_add(struct vm *vm)
{
    struct hvc *hvc = &vm->hvc;
    hvc_connect(hvc, vm);
    hvc->device.virtio.line = device_line(vm, LINE_HVC);
    virtio_console_init(&hvc->device);
    return unit_add(vm, &hvc->unit, GUEST_VIRTIO_HVC);
}

static int rng_add(struct vm *vm)
{
    struct rng *rng = &vm->rng;
    rng_connect(rng, vm);
    rng->device.virtio.line = device_line(vm, LINE_RNG);
    virtio_rng_init(&rng->device);
    return unit_add(vm, &rng->unit, GUEST_VIRTIO_RNG);
}

/* ---- All of them ----------------------------------------------------------------------------- */

int devices_check_words(const struct vm *vm)
{
    const struct vm_words *w = &vm->words;
    const char *word = w->net                         ? "net: a network"
                       : w->rng                       ? "rng: an entropy"
                       : w->console == CONSOLE_VIRTIO ? "console=virtio: a virtio"
                                                      : NULL;
    if (!word || w->pc)
        return 0;
    log_error("guest %s: %s device needs the word pc", vm->name, word);
    return -EINVAL;
}

enum exit_code devices_add_virtio(struct vm *vm)
{
    enum exit_code code = vm->words.net ? net_add(vm) : EXIT_OK;
    if (!code && vm->words.console == CONSOLE_VIRTIO && hvc_add(vm))
        code = EXIT_NO_MEMORY;
    if (!code && vm->words.rng && rng_add(vm))
        code = EXIT_NO_MEMORY;
    return code;
}

void devices_stop_virtio(struct vm *vm)
{
    if (!vm->net)
        return;
    virtio_net_destroy(&vm->net->device);
    page_free(virt_to_phys(vm->net), NET_ORDER);
    vm->net = NULL;
}

bool devices_destroy_piece(struct vm *vm)
{
    vm->disk_count = 0;
    for (unsigned i = 0; i < DISKS && !vm->again; i++) {
        struct disk **disk = &vm->disks[i];
        if (!*disk)
            continue;
        if (virtio_blk_destroy_piece(&(*disk)->blk)) {
            page_free(virt_to_phys(*disk), DISK_ORDER);
            *disk = NULL;
        }
        return false;
    }
    return true;
}
