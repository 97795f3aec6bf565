/* SPDX-License-Identifier: MIT */
/* See the header. */
#include "launch/kut.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "vm/legacy.h"
#include "vm/vm.h"

#define WINDOW_ORDER 4
_Static_assert(PC_TESTDEV_WINDOW == PAGE_SIZE << WINDOW_ORDER, "the pages of the window");

uint64_t kut_pages(void)
{
    return BIT(WINDOW_ORDER);
}

/* A page without a slot has no mapping to drop, and 32 bits of address are always in range. */
static void unmap(void *context, uint64_t gpa)
{
    struct vm *vm = context;
    (void)!mmu_zap(&vm->mmu, GPA(gpa & PAGE_MASK), 1);
}

/* The first lines are a PC's IRQs; only the I/O APIC has the others. A test pulses a line while
 * interrupts are disabled, and expects the interrupt later, as QEMU's 8259 delivers it. A real one
 * forgets a request whose line falls; so the 8259s see a line fall just before it rises again. */
static void set_line(void *context, unsigned number, bool level)
{
    struct vm *vm = context;
    if (number < PIC_IRQS && level) {
        legacy_set_line(vm, number, false);
        legacy_set_line(vm, number, true);
    } else {
        ioapic_set_line(&vm->ioapic, number, level);
    }
}

/* Initializes the 8259s as a PC's firmware does: IRQs 0 and 8 have the vectors 8 and 0x70, and the
 * cascade and the IRQs of PCI devices, 10 and 11, are not masked. */
static void init_pics(struct pic *pic)
{
    static const struct {
        uint8_t port, master, slave;
    } writes[] = {
        {0, 0x11, 0x11}, {1, 0x08, 0x70}, {1, 0x04, 0x02}, {1, 0x01, 0x01}, {1, 0xfb, 0xf3}};
    for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
        pic_master_ops.write(pic, NULL, writes[i].port, 1, writes[i].master);
        pic_slave_ops.write(pic, NULL, writes[i].port, 1, writes[i].slave);
    }
}

static int add(struct vm *vm, struct bus *bus, uint64_t start, uint64_t size,
               const struct bus_ops *ops, void *device)
{
    /* In a VM with a shared bit, device addresses have it set. */
    uint64_t shared = vm->words.shared && bus == &vm->mmio_bus ? BIT(vm->words.shared) : 0;
    return bus_add(bus, start | shared, size, ops, device);
}

int kut_add(struct vm *vm)
{
    struct bus *ports = &vm->port_bus;
    struct pc_testdev *d = &vm->kut.testdev;
    struct locked_device *fw_cfg = &vm->kut.locked;
    hpa_t pages = page_alloc(WINDOW_ORDER);
    if (page_is_none(pages)) {
        log_error("guest %s: no host memory for the test device's window; %s", vm->name,
                  page_shortage());
        return -ENOMEM;
    }
    *d = (struct pc_testdev){.window = phys_to_virt(pages),
                             .line = {.set = set_line, .context = vm},
                             .unmap = unmap,
                             .context = vm};
    page_clear(d->window, WINDOW_ORDER);
    init_pics(&vm->pic);
    vm->kut.fw_cfg = (struct fw_cfg){.ram = vm->words.memory, .cpus = (unsigned)vm->words.vcpus};
    locked_device_init(fw_cfg, &fw_cfg_ops, &vm->kut.fw_cfg);

    int error = add(vm, ports, PC_TESTDEV_LATCH, PC_TESTDEV_PORTS, &pc_testdev_latch_ops, d);
    if (!error)
        error = add(vm, ports, PC_TESTDEV_UNMAP, PC_TESTDEV_PORTS, &pc_testdev_unmap_ops, d);
    if (!error)
        error = add(vm, ports, PC_TESTDEV_LINES, PC_TESTDEV_PINS, &pc_testdev_lines_ops, d);
    if (!error)
        error = add(vm, ports, FW_CFG_PORT, FW_CFG_PORTS, &fw_cfg->ops, fw_cfg);
    if (!error)
        error =
            add(vm, &vm->mmio_bus, GUEST_KUT_WINDOW, PC_TESTDEV_WINDOW, &pc_testdev_window_ops, d);
    return error;
}

void kut_remove(struct vm *vm)
{
    if (!vm->kut.testdev.window)
        return;
    page_free(virt_to_phys(vm->kut.testdev.window), WINDOW_ORDER);
    vm->kut.testdev.window = NULL;
}
