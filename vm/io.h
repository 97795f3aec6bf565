/* SPDX-License-Identifier: MIT */
/* I/O instructions: the interface between vm/io.c and vm/io_string.c. */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

struct vcpu;

/* The exit qualification of an I/O instruction (SDM 3, table 28-5). */
#define IO_SIZE   BITS(2, 0) /* in bytes, less one */
#define IO_IN     BIT(3)
#define IO_STRING BIT(4)
#define IO_REP    BIT(5)
#define IO_PORT   BITS(31, 16)

/* Executes INS or OUTS. The caller is in an epoch. */
void io_string(struct vcpu *vcpu, uint64_t qualification);
