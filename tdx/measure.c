/* SPDX-License-Identifier: MIT */
/* MRTD and RTMRs; see the header. Pure. */
#include "tdx/measure.h"

#include "lib/assert.h"
#include "lib/string.h"

/* The record that stands before what a function of the module has measured. */
struct tdx_measure_record {
    char function[16];
    uint64_t gpa;
    uint8_t zero[104];
};
_Static_assert(sizeof(struct tdx_measure_record) == SHA384_BLOCK, "a record is one block");

void tdx_measure_init(struct td_measurement *measurement)
{
    memset(measurement, 0, sizeof(*measurement));
    sha384_init(&measurement->building);
}

void tdx_measure_page(struct td_measurement *measurement, gpa_t page)
{
    struct tdx_measure_record record = {.function = "MEM.PAGE.ADD", .gpa = page.v};

    sha384_update(&measurement->building, &record, sizeof(record));
}

void tdx_measure_chunk(struct td_measurement *measurement, gpa_t chunk, const void *content)
{
    struct tdx_measure_record record = {.function = "MR.EXTEND", .gpa = chunk.v};

    sha384_update(&measurement->building, &record, sizeof(record));
    sha384_update(&measurement->building, content, TDX_MR_CHUNK);
}

bool tdx_measure_contents(struct td_measurement *measurement, gpa_t page, const void *content)
{
    for (unsigned i = 0; i < TDX_MR_PIECE && measurement->extended < PAGE_SIZE; i++) {
        tdx_measure_chunk(measurement, gpa_add(page, measurement->extended),
                          (const uint8_t *)content + measurement->extended);
        measurement->extended += TDX_MR_CHUNK;
    }
    if (measurement->extended < PAGE_SIZE)
        return false;
    measurement->extended = 0;
    return true;
}

void tdx_measure_finalise(struct td_measurement *measurement)
{
    sha384_final(&measurement->building, measurement->mrtd);
}

void tdx_rtmr_extend(struct td_measurement *measurement, unsigned index,
                     const uint8_t data[SHA384_SIZE])
{
    struct sha384 sha;

    BUG_ON(index >= TDX_RTMRS);
    sha384_init(&sha);
    spin_lock(&measurement->lock);
    sha384_update(&sha, measurement->rtmr[index], SHA384_SIZE);
    sha384_update(&sha, data, SHA384_SIZE);
    sha384_final(&sha, measurement->rtmr[index]);
    spin_unlock(&measurement->lock);
}

void tdx_rtmr_read(struct td_measurement *measurement, uint8_t rtmr[TDX_RTMRS][SHA384_SIZE])
{
    spin_lock(&measurement->lock);
    memcpy(rtmr, measurement->rtmr, sizeof(measurement->rtmr));
    spin_unlock(&measurement->lock);
}
