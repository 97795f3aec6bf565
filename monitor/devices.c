/* SPDX-License-Identifier: MIT */
/* `bus`, `lapic`, `ioapic` and `virtio`: what a VM has besides memory. */
#include "arch/x86/tsc.h"
#include "arch/x86/unprivileged.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "monitor/look.h"
#include "vm/virtio_unit.h"
#include "vm/vm.h"

#include <linux/virtio_config.h>

/* ---- bus ------------------------------------------------------------------------------------- */

#define REGIONS_AT_ONCE 10u

static void say_region(struct monitor_call *call, const struct bus_region *region, int priority)
{
    monitor_say(call, "  0x%08lx to 0x%08lx  %s%s", region->start, region->last, region->ops->name,
                priority > 0   ? ", over what is below it"
                : priority < 0 ? ", where nothing else is"
                               : "");
}

/* Says regions from call->index on, and returns true if there are more. The lock keeps changes out,
 * and is held for the copy only, so that a vCPU that changes the bus hardly waits; readers do not
 * take it. */
static bool say_regions(struct monitor_call *call, struct bus *bus)
{
    struct bus_region regions[REGIONS_AT_ONCE];
    int priorities[REGIONS_AT_ONCE];
    unsigned count = 0;
    spin_lock(&bus->lock);
    for (; call->index < bus->region_count && count < REGIONS_AT_ONCE; call->index++, count++) {
        regions[count] = bus->regions[call->index];
        priorities[count] = bus->priorities[call->index];
    }
    bool more = call->index < bus->region_count;
    spin_unlock(&bus->lock);
    for (unsigned i = 0; i < count; i++)
        say_region(call, &regions[i], priorities[i]);
    return more;
}

static void say_doorbell(struct monitor_call *call, const struct bus_doorbell *bell)
{
    char length[24] = "any length", data[32] = "any data";
    if (bell->length)
        snprintf(length, sizeof(length), "%u byte%s", bell->length, bell->length == 1 ? "" : "s");
    if (bell->match_data)
        snprintf(data, sizeof(data), "data %#lx", bell->data);
    monitor_say(call, "  doorbell at %#lx, %s, %s: %s", bell->address, length, data,
                bell->ops->name);
}

static void say_doorbells(struct monitor_call *call, struct bus *bus)
{
    struct bus_doorbell bells[BUS_DOORBELLS];
    spin_lock(&bus->lock);
    unsigned count = bus->doorbell_count;
    memcpy(bells, bus->doorbells, count * sizeof(bells[0]));
    spin_unlock(&bus->lock);
    for (unsigned i = 0; i < count; i++)
        say_doorbell(call, &bells[i]);
}

/* First the regions of the MMIO bus, then its doorbells, then the regions of the port bus. */
bool command_bus(struct monitor_call *call)
{
    if (!call->vm && (!monitor_words_end(call, 2) || !monitor_vm(call, 1)))
        return false;
    bool ports = call->step == 2;
    struct bus *bus = ports ? &call->vm->port_bus : &call->vm->mmio_bus;
    if (call->step == 1) {
        say_doorbells(call, bus);
        call->step++;
        return true;
    }
    if (!call->index)
        monitor_say(call, "%s bus of VM %u %s: %u regions, %lu unclaimed accesses, %lu refused",
                    ports ? "port" : "MMIO", call->vm->number, call->vm->name, bus->region_count,
                    bus->unclaimed, bus->refused);
    if (say_regions(call, bus))
        return true;
    call->index = 0;
    return !call->step++;
}

/* ---- lapic ----------------------------------------------------------------------------------- */

/* The vectors in a bitmap of 8 registers, as in "0x20, 0xec". */
static void vectors_text(struct lapic *lapic, unsigned first, char *text, size_t size)
{
    size_t used = 0;
    for (unsigned vector = 0; vector < 256 && used < size; vector++)
        if (lapic_read(lapic, first + vector / 32) & BIT(vector % 32))
            used += (size_t)snprintf(text + used, size - used, "%s%#x", used ? ", " : "", vector);
    if (!used)
        snprintf(text, size, "none");
}

static void say_lvt(struct monitor_call *call, struct lapic *lapic, unsigned reg, const char *name)
{
    static const char *const modes[] = {"fixed", "mode 1", "SMI",    "mode 3",
                                        "NMI",   "INIT",   "mode 6", "ExtINT"};
    uint32_t value = lapic_read(lapic, reg);
    monitor_say(call, "  %-12s %#07x: vector %#x, %s%s", name, value, value & 0xff,
                modes[value >> 8 & 7], value & BIT(16) ? ", masked" : "");
}

static void say_timer(struct monitor_call *call, struct lapic *lapic)
{
    static const char *const modes[] = {"one-shot", "periodic", "TSC-deadline", "reserved"};
    char when[32];
    time_text(rdtsc(), lapic_deadline(lapic), when, sizeof(when));
    monitor_say(call, "  timer        %s, expires: %s",
                modes[lapic_read(lapic, LAPIC_LVT_TIMER) >> 17 & 3], when);
}

static void look_at_lapic(struct monitor_call *call, struct vcpu *vcpu)
{
    static const char *const modes[] = {"disabled", "?", "xAPIC mode", "x2APIC mode"};
    struct lapic *lapic = &vcpu->lapic;
    char text[100];
    monitor_say(call, "local APIC of %u.%u %s: ID %#x, %s%s", call->vm->number, vcpu->index,
                call->vm->name, lapic->id, modes[lapic->mode],
                lapic->mode && !lapic_accepts(lapic) ? ", disabled by SVR" : "");
    if (lapic->mode == LAPIC_OFF)
        return;
    monitor_say(call, "  TPR %#x, PPR %#x, SVR %#x, LDR %#x", lapic_read(lapic, LAPIC_TPR),
                lapic_read(lapic, LAPIC_PPR), lapic_read(lapic, LAPIC_SVR),
                lapic_read(lapic, LAPIC_LDR));
    vectors_text(lapic, LAPIC_IRR, text, sizeof(text));
    monitor_say(call, "  pending      %s", text);
    vectors_text(lapic, LAPIC_ISR, text, sizeof(text));
    monitor_say(call, "  in service   %s", text);
    say_timer(call, lapic);
    say_lvt(call, lapic, LAPIC_LVT_TIMER, "LVT timer");
    say_lvt(call, lapic, LAPIC_LVT_LINT0, "LVT LINT0");
    say_lvt(call, lapic, LAPIC_LVT_LINT1, "LVT LINT1");
    say_lvt(call, lapic, LAPIC_LVT_ERROR, "LVT error");
}

bool command_lapic(struct monitor_call *call)
{
    if (!call->vm && (!monitor_words_end(call, 2) || !monitor_vcpu(call, 1) ||
                      !monitor_may_look(call, "registers")))
        return false;
    if (!monitor_visit(call, look_at_lapic))
        return true;
    monitor_seen(call);
    return false;
}

/* ---- ioapic ---------------------------------------------------------------------------------- */

#define ENTRY_VECTOR      BITS(7, 0)
#define ENTRY_DELIVERY    BITS(10, 8)
#define ENTRY_LOGICAL     BIT(11)
#define ENTRY_REMOTE_IRR  BIT(14)
#define ENTRY_LEVEL       BIT(15)
#define ENTRY_MASKED      BIT(16)
#define ENTRY_DESTINATION BITS(63, 56)

static void say_pin(struct monitor_call *call, unsigned pin, uint64_t entry, bool asserted)
{
    monitor_say(call, "  pin %2u: %svector %#lx, %s, to %s %#lx%s%s", pin,
                entry & ENTRY_MASKED ? "masked, " : "", field_get(entry, ENTRY_VECTOR),
                entry & ENTRY_LEVEL ? "level" : "edge",
                entry & ENTRY_LOGICAL ? "logical ID" : "APIC", field_get(entry, ENTRY_DESTINATION),
                asserted ? ", asserted" : "", entry & ENTRY_REMOTE_IRR ? ", waits for EOI" : "");
}

/* Pins that are masked and whose line is not asserted are left out. */
bool command_ioapic(struct monitor_call *call)
{
    if (!monitor_words_end(call, 2) || !monitor_vm(call, 1))
        return false;
    struct ioapic *ioapic = &call->vm->ioapic;
    if (!call->vm->words.pc) {
        monitor_say(call, "VM %u %s has no I/O APIC: it was created without the word pc",
                    call->vm->number, call->vm->name);
        return false;
    }
    uint64_t entries[IOAPIC_PINS];
    unsigned idle = 0;
    spin_lock(&ioapic->lock);
    memcpy(entries, ioapic->entries, sizeof(entries));
    uint32_t asserted = ioapic->asserted, id = ioapic->id;
    spin_unlock(&ioapic->lock);
    monitor_say(call, "I/O APIC of VM %u %s: ID %u, %u pins", call->vm->number, call->vm->name,
                id >> 24, IOAPIC_PINS);
    for (unsigned pin = 0; pin < IOAPIC_PINS && call->said < MONITOR_TEXT - 2 * MONITOR_WIDTH;
         pin++) {
        bool shown = !(entries[pin] & ENTRY_MASKED) || asserted & BIT(pin);
        if (shown)
            say_pin(call, pin, entries[pin], asserted & BIT(pin));
        idle += !shown;
    }
    monitor_say(call, "  the other %u pins are masked and not asserted", idle);
    return false;
}

/* ---- virtio ---------------------------------------------------------------------------------- */

static void status_text(uint8_t status, char *text, size_t size)
{
    static const struct {
        uint8_t bit;
        const char *name;
    } names[] = {
        {VIRTIO_CONFIG_S_ACKNOWLEDGE, "acknowledge"}, {VIRTIO_CONFIG_S_DRIVER, "driver"},
        {VIRTIO_CONFIG_S_FEATURES_OK, "features ok"}, {VIRTIO_CONFIG_S_DRIVER_OK, "driver ok"},
        {VIRTIO_CONFIG_S_NEEDS_RESET, "needs reset"}, {VIRTIO_CONFIG_S_FAILED, "failed"},
    };
    size_t used = 0;
    snprintf(text, size, "reset");
    for (unsigned i = 0; i < ARRAY_SIZE(names) && used < size; i++)
        if (status & names[i].bit)
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", names[i].name);
}

static void say_queue(struct monitor_call *call, unsigned number, const struct virtq *queue)
{
    if (queue->ready)
        monitor_say(call,
                    "    queue %u: %u descriptors at GPA %#lx; %u chains taken, %u returned%s%s",
                    number, queue->size, queue->descriptors, queue->taken, queue->returned,
                    queue->why[0] ? "; broken: " : "", queue->why);
    else
        monitor_say(call, "    queue %u: not ready", number);
}

/* Says one device at a time, with its lock held. */
bool command_virtio(struct monitor_call *call)
{
    char status[80];
    if (!call->vm && (!monitor_words_end(call, 2) || !monitor_vm(call, 1)))
        return false;
    if (call->index >= call->vm->unit_count) {
        if (!call->index)
            monitor_say(call, "VM %u %s has no virtio devices", call->vm->number, call->vm->name);
        return false;
    }
    struct virtio_unit *unit = call->vm->units[call->index];
    const struct virtio *virtio = unit->virtio;
    spin_lock(&unit->locked.lock);
    status_text(virtio->status, status, sizeof(status));
    monitor_say(call, "  %s: %s; features %#lx of %#lx%s", virtio->ops->name, status,
                virtio->driver_features, virtio->features,
                virtio->interrupts ? "; its interrupt is asserted" : "");
    for (unsigned i = 0; i < virtio->ops->queues; i++)
        say_queue(call, i, &virtio->queues[i]);
    spin_unlock(&unit->locked.lock);
    return ++call->index < call->vm->unit_count;
}
