/* SPDX-License-Identifier: MIT */
/* Shared by init.c and its real-mode code. */
#define PROBE_PAGE  0x9000
#define PROBE_FOUND (PROBE_PAGE + 0x800)
#define PROBE_MARK  0x600dda7a
