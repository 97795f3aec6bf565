/* SPDX-License-Identifier: MIT */
/* The address to which the 16-bit code is copied for real mode. */
#pragma once

#define REAL_SEGMENT 0x7000
#define REAL_BASE    0x70000
