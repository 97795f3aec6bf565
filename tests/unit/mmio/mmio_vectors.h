/* SPDX-License-Identifier: MIT */
/* The guest's vector registers, as the hosted tests have them. */
#pragma once

#include <stdint.h>

extern uint8_t vectors[16][32];
extern uint64_t vectors_xcr0;
