/* SPDX-License-Identifier: MIT */
/* A small driver of the virtio network device: its two queues, each with a buffer for one packet
 * per descriptor, and its interrupt. */
#pragma once

#include "guest/programs/rt/virtio.h"

#define RECEIVE     0u
#define TRANSMIT    1u
#define NET_BUFFERS 16u     /* of each queue */
#define NET_TYPE    0x88b5u /* an EtherType for experiments */
#define NET_FRAME   1514u   /* bytes */

struct packet {
    uint8_t header[12];
    uint8_t to[6], from[6];
    uint16_t type;
    uint32_t number; /* for the use of the program */
    uint8_t rest[NET_FRAME - 18];
} __attribute__((packed));

/* Starts the device, with all receive buffers available and without interrupts. */
void net_start(void);

/* Enables the local APIC, and asks for an interrupt for each frame that is received. */
void net_take_interrupts(void);
void net_refuse_interrupts(void);
extern volatile unsigned net_interrupts; /* that were taken */

/* Returns the next packet to send, addressed to VM `to`, or to all if this is 0. It is one that was
 * given to net_send() NET_BUFFERS packets ago. */
struct packet *net_packet(unsigned to, uint32_t number);

/* Makes a packet available to the device, and notifies the device. */
void net_send(const struct packet *packet);

/* Returns the next packet that was received, or NULL. */
struct packet *net_received(void);

/* Waits for it. Called with interrupts disabled; they are enabled while the CPU is halted. */
struct packet *net_wait(void);

/* Gives the buffer of a received packet back to the device, without a notification. */
void net_return(const struct packet *packet);
void net_notify(unsigned queue);

/* Returns the number of the VM that sent a packet, and of this VM. */
unsigned net_sender(const struct packet *packet);
unsigned net_own(void);
