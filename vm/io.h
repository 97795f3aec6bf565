/* SPDX-License-Identifier: MIT */
/* I/O instructions: what vm/io.c and vm/io_string.c share. */
#pragma once

#include "lib/bits.h"
#include "lib/types.h"

struct vcpu;

/* The qualification (SDM 3, table 28-5). */
#define IO_SIZE   BITS(2, 0) /* less one */
#define IO_IN     BIT(3)
#define IO_STRING BIT(4)
#define IO_REP    BIT(5)
#define IO_PORT   BITS(31, 16)

/* INS and OUTS. In an epoch. */
void io_string(struct vcpu *vcpu, uint64_t qualification);
