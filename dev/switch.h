/* SPDX-License-Identifier: MIT */
/*
 * An Ethernet switch between the VMs of this machine. It is connected to nothing else.
 *
 * Each port belongs to a network device of a VM, and the switch knows the MAC address that the
 * device was given. A frame to such an address goes to that port. Any other frame, such as a
 * broadcast, goes to all ports except the sender's. Source addresses are not checked.
 *
 * A frame is copied into a queue of each receiver's port, from which the receiver's own CPU takes
 * it. The queue has a fixed number of frames, so no sender can make another VM need more memory.
 * When it is full, the sender that has most frames in it loses its newest one in favour of a sender
 * that has fewer. So a sender that floods a port loses its own frames, and others find room for
 * PORT_FRAMES divided by the number of senders.
 *
 * Each port has a lock, which is held for the copy of one frame. Functions that are called for a
 * port serialise their callers where this is said; different ports never need that.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/spinlock.h"

#include <stddef.h>

#define SWITCH_PORTS 16u
#define PORT_FRAMES  36u

#define MAC_SIZE  6u
#define FRAME_MIN 14u   /* the Ethernet header */
#define FRAME_MAX 1518u /* with a VLAN tag, and without the checksum, which no frame here has */

struct frame {
    uint16_t size, sender; /* `sender`: the number of a port, or SWITCH_PORTS if it is gone */
    uint8_t bytes[FRAME_MAX];
};

/* The port's lock guards all fields that change. */
struct switch_port {
    struct net_switch *owner;
    void (*wake)(void *context); /* the queue is no longer empty; called with the port's lock */
    void *context;
    uint8_t mac[MAC_SIZE];

    unsigned number;            /* of the port in the switch */
    bool open;                  /* frames are accepted */
    uint32_t count;             /* frames in the queue */
    uint8_t order[PORT_FRAMES]; /* indexes of these frames, oldest first, then of the free ones */
    uint8_t held[SWITCH_PORTS + 1]; /* frames in the queue, by sender */
    struct frame frames[PORT_FRAMES];
};

/* Numbers of frames. A frame to several ports counts as one that was sent; `lost` counts copies for
 * which a receiver's queue had no room. */
struct switch_counts {
    uint64_t sent, received, lost;
};

struct net_switch {
    struct spinlock lock; /* serialises switch_attach() and switch_detach() */
    struct switch_slot {
        struct spinlock lock;
        uint64_t address; /* the port's MAC address, or 0 without a port; atomic */
        struct switch_port *port;
        struct switch_counts counts;
    } __attribute__((aligned(64))) slots[SWITCH_PORTS];
};

/* Attaches a port, whose owner, wake, context and mac are set; it is closed. The MAC address is a
 * unicast address that no other port has. Returns 0, or -ENOSPC if all ports are in use. */
int switch_attach(struct switch_port *port) MUST_CHECK;

/* Detaches a port. When this returns, no other CPU uses the port any more. Nothing is sent from the
 * port at the same time. */
void switch_detach(struct switch_port *port);

/* Opens or closes a port. Closing discards the frames in its queue. */
void switch_open(struct switch_port *port, bool open);

/* Sends a frame of FRAME_MIN to FRAME_MAX bytes. Returns the number of ports to which it was
 * offered, which determines the cost. The caller serialises the calls for one port, and holds no
 * lock that a `wake` takes. */
unsigned switch_send(struct switch_port *port, const void *frame, size_t size);

/* Whether the queue has a frame. */
bool switch_waits(const struct switch_port *port);

/* Takes the oldest frame from the queue into a buffer of FRAME_MAX bytes. Returns its size, or 0 if
 * the queue is empty. */
size_t switch_take(struct switch_port *port, void *frame);

/* Reads the counts of a port since it was attached. */
struct switch_counts switch_counts(const struct switch_port *port);
