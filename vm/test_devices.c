/* SPDX-License-Identifier: MIT */
/* Doorbells, a window and a port for tests; see docs/ABI.md. Hypercalls and the bus call them. */
#include "vm/test_devices.h"

#include "arch/x86/this_cpu.h"
#include "guest/abi.h"
#include "vm/hypercall.h"
#include "vm/vm.h"
#include "lib/errno.h"

/* ---- Doorbells ------------------------------------------------------------------------------- */

static void test_bell_ring(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                           uint64_t value)
{
    struct test_bell *bell = device;
    (void)vcpu, (void)offset, (void)size, (void)value;
    __atomic_fetch_add(&bell->rings, 1, __ATOMIC_RELAXED);
}

static const struct bus_ops bell_ops = {.name = "test doorbell", .write = test_bell_ring};

static int64_t doorbell_add(struct vcpu *vcpu, struct call *call)
{
    struct test_bell *bells = vcpu->vm->tests.bells;
    unsigned id = 0;
    if (call->rcx > 8 || call->rsi & ~(uint64_t)DOORBELL_DATA)
        return -EINVAL;
    while (id < BUS_DOORBELLS && bells[id].used)
        id++;
    if (id == BUS_DOORBELLS)
        return -ENOSPC;
    /* The doorbell counts from the moment that it is on the bus. */
    bells[id] = (struct test_bell){.bell = {.address = call->rbx,
                                            .length = (unsigned)call->rcx,
                                            .data = call->rdx,
                                            .match_data = call->rsi & DOORBELL_DATA,
                                            .ops = &bell_ops,
                                            .device = &bells[id]}};
    int error = bus_doorbell_add(&vcpu->vm->mmio_bus, &bells[id].bell);
    if (error)
        return error;
    bells[id].used = true;
    call->rbx = id;
    return 0;
}

static struct test_bell *bell_of(struct vcpu *vcpu, const struct call *call)
{
    struct test_bell *bells = vcpu->vm->tests.bells;
    return call->rbx < BUS_DOORBELLS && bells[call->rbx].used ? &bells[call->rbx] : NULL;
}

static int64_t doorbell_remove(struct vcpu *vcpu, struct call *call)
{
    struct test_bell *bell = bell_of(vcpu, call);
    if (!bell)
        return -EINVAL;
    bell->used = false;
    return bus_doorbell_remove(&vcpu->vm->mmio_bus, &bell->bell);
}

static int64_t doorbell_rings(struct vcpu *vcpu, struct call *call)
{
    const struct test_bell *bell = bell_of(vcpu, call);
    if (!bell)
        return -EINVAL;
    call->rbx = bell->rings;
    return 0;
}

/* ---- The window ------------------------------------------------------------------------------ */

#define ABOVE_OTHERS 1

static int64_t set_window(struct vcpu *vcpu, struct call *call)
{
    struct vm *vm = vcpu->vm;
    struct test_devices *t = &vm->tests;
    uint64_t end = BIT(vmx.maxphyaddr), at = call->rbx;

    if ((at | call->rcx | call->rdx) & ~PAGE_MASK)
        return -EINVAL;
    if (at >= end || WINDOW_SIZE > end - at || call->rcx >= end || call->rdx >= end)
        return -ERANGE;
    if (t->window_at) {
        int error = bus_remove(&vm->mmio_bus, t->window_at, &t->window);
        if (error)
            return error;
        t->window_at = 0;
    }
    if (!at)
        return 0;
    window_init(&t->window, &vm->mmu, GPA(call->rcx), GPA(call->rdx));
    int error = bus_add_over(&vm->mmio_bus, ABOVE_OTHERS, at, WINDOW_SIZE, &window_ops, &t->window);
    if (!error)
        t->window_at = at;
    return error;
}

/* ---- Hypercalls ------------------------------------------------------------------------------ */

/* Serializes the changes of the buses, which their functions require. A removal waits for an epoch,
 * so other CPUs must be able to pass one while they wait for the lock. */
static int64_t call_locked(struct vcpu *vcpu, struct call *call,
                           int64_t (*function)(struct vcpu *, struct call *))
{
    struct spinlock *lock = &vcpu->vm->tests.lock;
    epoch_lock(lock, this_cpu());
    int64_t result = function(vcpu, call);
    spin_unlock(lock);
    return result;
}

int64_t call_doorbell_add(struct vcpu *vcpu, struct call *call)
{
    return call_locked(vcpu, call, doorbell_add);
}

int64_t call_doorbell_remove(struct vcpu *vcpu, struct call *call)
{
    return call_locked(vcpu, call, doorbell_remove);
}

int64_t call_doorbell_rings(struct vcpu *vcpu, struct call *call)
{
    return call_locked(vcpu, call, doorbell_rings);
}

int64_t call_window(struct vcpu *vcpu, struct call *call)
{
    return call_locked(vcpu, call, set_window);
}

/* ---- The port -------------------------------------------------------------------------------- */

static uint64_t port_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct test_port *p = device;
    uint64_t value = 0;
    (void)vcpu, (void)offset;
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = 0xff;
        if (p->first != p->next)
            byte = p->bytes[p->first++];
        value |= (uint64_t)byte << (8 * i);
    }
    return value;
}

static void port_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                       uint64_t value)
{
    struct test_port *p = device;
    (void)vcpu, (void)offset;
    for (unsigned i = 0; i < size; i++)
        p->bytes[p->next++] = (uint8_t)(value >> (8 * i));
}

const struct bus_ops test_port_ops = {.name = "test port", .read = port_read, .write = port_write};
