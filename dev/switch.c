/* SPDX-License-Identifier: MIT */
/* See the header. Called by dev/virtio_net.c. Pure. */
#include "dev/switch.h"

#include "lib/errno.h"
#include "lib/string.h"

static struct switch_slot *slot_of(const struct switch_port *port)
{
    return &port->owner->slots[port->number];
}

/* A MAC address as a number; 0 is the address of no port. */
static uint64_t address_of(const uint8_t mac[MAC_SIZE])
{
    uint64_t address = 0;
    memcpy(&address, mac, MAC_SIZE);
    return address;
}

static uint64_t slot_address(const struct switch_slot *slot)
{
    return __atomic_load_n(&slot->address, __ATOMIC_RELAXED);
}

static void switch_count(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void count_lost(struct net_switch *owner, unsigned sender)
{
    if (sender < SWITCH_PORTS)
        switch_count(&owner->slots[sender].counts.lost);
}

/* ---- Ports ----------------------------------------------------------------------------------- */

/* Called with the port's lock held, as are all functions whose names begin with `port_`. */
static void port_set_count(struct switch_port *port, uint32_t frames)
{
    __atomic_store_n(&port->count, frames, __ATOMIC_RELAXED);
}

static void port_clear(struct switch_port *port)
{
    port_set_count(port, 0);
    memset(port->held, 0, sizeof(port->held));
    for (unsigned i = 0; i < PORT_FRAMES; i++)
        port->order[i] = (uint8_t)i;
}

int switch_attach(struct switch_port *port)
{
    struct net_switch *owner = port->owner;
    spin_lock(&owner->lock);
    for (port->number = 0; port->number < SWITCH_PORTS; port->number++) {
        struct switch_slot *slot = slot_of(port);
        if (slot_address(slot))
            continue;
        spin_lock(&slot->lock);
        port->open = false;
        port_clear(port);
        slot->port = port;
        slot->counts = (struct switch_counts){0};
        __atomic_store_n(&slot->address, address_of(port->mac), __ATOMIC_RELAXED);
        spin_unlock(&slot->lock);
        break;
    }
    spin_unlock(&owner->lock);
    return port->number < SWITCH_PORTS ? 0 : -ENOSPC;
}

/* The frames that this sender has in the queue stay, but no longer belong to a port, whose number
 * another sender may get. */
static void port_forget_sender(struct switch_port *port, unsigned sender)
{
    for (unsigned i = 0; i < port->count; i++) {
        struct frame *frame = &port->frames[port->order[i]];
        if (frame->sender == sender)
            frame->sender = SWITCH_PORTS;
    }
    port->held[SWITCH_PORTS] = (uint8_t)(port->held[SWITCH_PORTS] + port->held[sender]);
    port->held[sender] = 0;
}

void switch_detach(struct switch_port *port)
{
    struct net_switch *owner = port->owner;
    struct switch_slot *own = slot_of(port);
    spin_lock(&owner->lock);
    for (unsigned i = 0; i < SWITCH_PORTS; i++) {
        struct switch_slot *slot = &owner->slots[i];
        spin_lock(&slot->lock);
        if (slot == own)
            slot->port = NULL;
        else if (slot->port)
            port_forget_sender(slot->port, port->number);
        spin_unlock(&slot->lock);
    }
    __atomic_store_n(&own->address, 0, __ATOMIC_RELAXED);
    spin_unlock(&owner->lock);
}

void switch_open(struct switch_port *port, bool open)
{
    struct switch_slot *slot = slot_of(port);
    spin_lock(&slot->lock);
    port->open = open;
    if (!open)
        port_clear(port);
    spin_unlock(&slot->lock);
}

struct switch_counts switch_counts(const struct switch_port *port)
{
    const struct switch_counts *counts = &slot_of(port)->counts;
    return (struct switch_counts){
        .sent = __atomic_load_n(&counts->sent, __ATOMIC_RELAXED),
        .received = __atomic_load_n(&counts->received, __ATOMIC_RELAXED),
        .lost = __atomic_load_n(&counts->lost, __ATOMIC_RELAXED),
    };
}

/* ---- Sending --------------------------------------------------------------------------------- */

/* Removes the frame at this place in the order, and makes it the first of the free ones. */
static void port_remove(struct switch_port *port, unsigned place)
{
    uint8_t index = port->order[place];
    memmove(port->order + place, port->order + place + 1, port->count - place - 1);
    port_set_count(port, port->count - 1);
    port->order[port->count] = index;
    port->held[port->frames[index].sender]--;
}

/* Makes room for a frame of this sender in a full queue, at the cost of the sender that has most
 * frames. Returns false if there is no room, because the sender would then have most itself. */
static bool port_make_room(struct switch_port *port, unsigned sender)
{
    unsigned most = 0, place = PORT_FRAMES - 1;
    for (unsigned i = 1; i <= SWITCH_PORTS; i++)
        if (port->held[i] > port->held[most])
            most = i;
    if (port->held[most] <= port->held[sender] + 1u) {
        count_lost(port->owner, sender);
        return false;
    }
    while (port->frames[port->order[place]].sender != most)
        place--;
    port_remove(port, place);
    count_lost(port->owner, most);
    return true;
}

static void port_put(struct switch_port *port, unsigned sender, const void *bytes, size_t size)
{
    if (!port->open || (port->count == PORT_FRAMES && !port_make_room(port, sender)))
        return;
    struct frame *frame = &port->frames[port->order[port->count]];
    memcpy(frame->bytes, bytes, size);
    frame->size = (uint16_t)size;
    frame->sender = (uint16_t)sender;
    port->held[sender]++;
    port_set_count(port, port->count + 1);
    if (port->count == 1)
        port->wake(port->context);
}

/* Offers a frame to port `to`, unless there is no such port or it is the sender's own. Returns the
 * number of ports to which it was offered, 0 or 1. */
static unsigned send_to(struct switch_port *port, unsigned to, const void *frame, size_t size)
{
    struct switch_slot *slot = &port->owner->slots[to];
    if (to == port->number || !slot_address(slot))
        return 0;
    spin_lock(&slot->lock);
    if (slot->port)
        port_put(slot->port, port->number, frame, size);
    spin_unlock(&slot->lock);
    return 1;
}

unsigned switch_send(struct switch_port *port, const void *frame, size_t size)
{
    const uint64_t destination = address_of(frame);
    unsigned offered = 0;
    switch_count(&slot_of(port)->counts.sent);
    for (unsigned i = 0; destination && i < SWITCH_PORTS; i++)
        if (slot_address(&port->owner->slots[i]) == destination)
            return send_to(port, i, frame, size);
    for (unsigned i = 0; i < SWITCH_PORTS; i++)
        offered += send_to(port, i, frame, size);
    return offered;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

bool switch_waits(const struct switch_port *port)
{
    return __atomic_load_n(&port->count, __ATOMIC_RELAXED);
}

size_t switch_take(struct switch_port *port, void *frame)
{
    struct switch_slot *slot = slot_of(port);
    size_t size = 0;
    spin_lock(&slot->lock);
    if (port->count) {
        const struct frame *oldest = &port->frames[port->order[0]];
        size = oldest->size;
        memcpy(frame, oldest->bytes, size);
        port_remove(port, 0);
        switch_count(&slot->counts.received);
    }
    spin_unlock(&slot->lock);
    return size;
}
