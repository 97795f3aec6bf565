/* SPDX-License-Identifier: MIT */
/* The guest's vector registers, as the hosted tests have them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

extern uint8_t vectors[16][32];
extern uint64_t vectors_xcr0;
extern uint64_t vectors_mmx[8];
extern bool vectors_x87_error; /* whether an x87 exception is pending */
