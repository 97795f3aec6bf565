/* SPDX-License-Identifier: MIT */
/* See the header. Called by vm/msr.c. */
#include "vm/apic_base.h"

#include "dev/lapic_mmio.h"
#include "vm/vm.h"

/* The priorities of the regions on the bus: of the one at the usual address, which takes the place
 * of that of all vCPUs when one of them has moved its page, and of the vCPUs' own. */
#define USUAL_PAGE 0x100
#define PAGE_OF(n) (USUAL_PAGE + 1 + (int)(n))

/* A region's device is its address. */
static struct lapic *apic_at(struct mmio_vcpu *mmio, const void *page)
{
    struct vcpu *vcpu = container_of(mmio, struct vcpu, mmio);
    return vcpu->apic_page == (uintptr_t)page ? &vcpu->lapic : NULL;
}

static uint64_t page_read(void *device, struct mmio_vcpu *mmio, uint64_t offset, unsigned size)
{
    struct lapic *lapic = apic_at(mmio, device);
    return lapic ? lapic_mmio_ops.read(lapic, mmio, offset, size) : ~0ull;
}

static void page_write(void *device, struct mmio_vcpu *mmio, uint64_t offset, unsigned size,
                       uint64_t value)
{
    struct lapic *lapic = apic_at(mmio, device);
    if (lapic)
        lapic_mmio_ops.write(lapic, mmio, offset, size, value);
}

static const struct bus_ops page_ops = {
    .name = "moved local APIC", .read = page_read, .write = page_write};

static uint64_t on_bus(const struct vm *vm, uint64_t page)
{
    return vm->words.shared ? page | BIT(vm->words.shared) : page;
}

/* Whether neither memory nor a device other than APICs is at the page. */
static bool is_free(struct vm *vm, uint64_t page)
{
    uint64_t at = on_bus(vm, page);
    uint8_t byte;
    return guest_read(&vm->mmu, GPA(at), &byte, 1, ACCESS_READ) &&
           bus_is_free(&vm->mmio_bus, at, LAPIC_PAGE_SIZE, &page_ops);
}

bool apic_page_move(struct vcpu *vcpu, uint64_t page)
{
    struct vm *vm = vcpu->vm;
    bool usual = page == GUEST_LAPIC;
    if (page == vcpu->apic_page)
        return true;
    if (!vm->words.legacy || (!usual && !is_free(vm, page)))
        return false;
    const struct bus_place places[] = {
        {USUAL_PAGE, on_bus(vm, GUEST_LAPIC), LAPIC_PAGE_SIZE, &page_ops, (void *)GUEST_LAPIC},
        {PAGE_OF(vcpu->index), usual ? BUS_NOWHERE : on_bus(vm, page), LAPIC_PAGE_SIZE, &page_ops,
         (void *)(uintptr_t)page},
    };
    if (bus_move(&vm->mmio_bus, places, ARRAY_SIZE(places)))
        return false; /* the bus is full, so the vCPU had no region of its own */
    vcpu->apic_page = page;
    return true;
}
