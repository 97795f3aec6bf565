/* SPDX-License-Identifier: MIT */
/*
 * What a TD's contents are known by: MRTD and the four RTMRs, as the TDX module computes them.
 *
 * MRTD is the SHA-384 of the records of how the initial image was made, in their order: for each
 * page that is added 128 bytes that begin with "MEM.PAGE.ADD", and for each 256 bytes whose
 * contents are measured 128 bytes that begin with "MR.EXTEND", followed by the 256 bytes. The
 * guest-physical address is at byte 16 of a record, and the rest is zero. An RTMR begins as zero,
 * and the guest extends it: it becomes the SHA-384 of itself followed by 48 bytes.
 *
 * Pure. The functions up to tdx_measure_finalise() are for one CPU; the RTMRs have a lock.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/sha384.h"
#include "lib/spinlock.h"
#include "lib/types.h"

#define TDX_MR_CHUNK 256 /* bytes that one MR.EXTEND measures */
#define TDX_RTMRS    4

struct td_measurement {
    struct sha384 building; /* MRTD until it is finalised */
    uint32_t extended;      /* bytes of the page whose contents are being measured, or 0 */
    uint8_t mrtd[SHA384_SIZE];
    struct spinlock lock; /* of the RTMRs */
    uint8_t rtmr[TDX_RTMRS][SHA384_SIZE];
};

void tdx_measure_init(struct td_measurement *measurement);

/* MEM.PAGE.ADD of the page at `page`: one block of SHA-384. */
void tdx_measure_page(struct td_measurement *measurement, gpa_t page);

/* MR.EXTEND of the TDX_MR_CHUNK bytes at `chunk`: three blocks. */
void tdx_measure_chunk(struct td_measurement *measurement, gpa_t chunk, const void *content);

/* MR.EXTEND of a whole page, TDX_MR_PIECE chunks at each call (nine blocks). Returns true if it is
 * complete; until then, each call is for the same page, and tdx_measuring() is true. */
#define TDX_MR_PIECE 3u
bool tdx_measure_contents(struct td_measurement *measurement, gpa_t page,
                          const void *content) MUST_CHECK;

static inline bool tdx_measuring(const struct td_measurement *measurement)
{
    return measurement->extended;
}

/* MRTD is final. */
void tdx_measure_finalise(struct td_measurement *measurement);

/* Extends an RTMR, `index` < TDX_RTMRS: one block, while the lock is held. */
void tdx_rtmr_extend(struct td_measurement *measurement, unsigned index,
                     const uint8_t data[SHA384_SIZE]);

/* Copies all RTMRs as they are at one moment. */
void tdx_rtmr_read(struct td_measurement *measurement, uint8_t rtmr[TDX_RTMRS][SHA384_SIZE]);
