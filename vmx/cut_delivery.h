/* SPDX-License-Identifier: MIT */
/*
 * Which event's delivery an exit has interrupted, on a CPU that does not always say so.
 *
 * An exit during the delivery of a virtual interrupt has that interrupt as its IDT-vectoring
 * information (SDM 3, 28.2.4). Bochs, up to 3.1 at least, leaves the event there that was delivered
 * last without an exit, such as a page fault of long ago: the guest would get that one again, and
 * never the interrupt (docs/EMULATOR-GAPS.md). Pure, but for counts_instructions().
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether the TSC counts instructions, as only that of an emulator does: of no CPU does it advance
 * 32 times as much during 256 NOPs as between two RDTSCs, whatever the frequency of either. */
bool counts_instructions(void) MUST_CHECK;

/* Returns the IDT-vectoring information that a CPU would have left instead of `info`, which is
 * valid. `svi` is the vector in service, or 0; the other arguments are fields of the guest's state.
 *
 * A virtual interrupt that was interrupted is in service, and was accepted, so IF is 1 and nothing
 * blocks it. In this state, the real event of another kind could only be one of a handler that
 * enables interrupts before its EOI. */
uint32_t cut_delivery(uint32_t info, uint8_t svi, uint64_t rflags, uint32_t interruptibility);
