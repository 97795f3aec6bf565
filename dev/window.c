/* SPDX-License-Identifier: MIT */
/* The window onto guest RAM; see the header. Called by the bus. Pure: it reaches RAM through
 * mmu/mmu.h. */
#include "dev/window.h"

#include "guest/abi.h"
#include "lib/string.h"

struct record {
    uint64_t number;
    uint32_t offset;
    uint16_t size, is_write;
    uint8_t bytes[BUS_ACCESS];
};
_Static_assert(sizeof(struct record) == WINDOW_LOG_RECORD &&
                   WINDOW_LOG_HEADER + WINDOW_LOG_RECORDS * WINDOW_LOG_RECORD == PAGE_SIZE,
               "the ABI's layout");

void window_init(struct window *window, struct mmu *mmu, gpa_t mirror, gpa_t log)
{
    *window = (struct window){mmu, mirror, log, 0};
}

/* Writes one record to the log page, then the number of accesses. Logging stops for good if the
 * page is not in writable RAM, where neither write succeeds. */
static void window_log_access(struct window *w, uint64_t offset, unsigned size, bool write,
                              const uint8_t *bytes)
{
    uint64_t number = __atomic_add_fetch(&w->accesses, 1, __ATOMIC_RELAXED);
    uint64_t place = WINDOW_LOG_HEADER + (number - 1) % WINDOW_LOG_RECORDS * WINDOW_LOG_RECORD;
    struct record record = {number, (uint32_t)offset, (uint16_t)size, write, {0}};
    memcpy(record.bytes, bytes, size);
    if (w->log.v && !guest_write(w->mmu, gpa_add(w->log, place), &record, sizeof(record)) &&
        guest_write(w->mmu, w->log, &number, sizeof(number)))
        w->log.v = 0;
}

static void window_read_wide(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                             uint8_t *bytes)
{
    struct window *w = device;
    (void)vcpu;
    if (guest_read(w->mmu, gpa_add(w->mirror, offset), bytes, size, ACCESS_READ))
        memset(bytes, 0xff, size);
    window_log_access(w, offset, size, false, bytes);
}

static void window_write_wide(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                              const uint8_t *bytes)
{
    struct window *w = device;
    (void)vcpu;
    if (!guest_write(w->mmu, gpa_add(w->mirror, offset), bytes, size))
        window_log_access(w, offset, size, true, bytes);
}

static uint64_t window_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    window_read_wide(device, vcpu, offset, size, (uint8_t *)&value);
    return value;
}

static void window_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    window_write_wide(device, vcpu, offset, size, (const uint8_t *)&value);
}

const struct bus_ops window_ops = {.name = "window",
                                   .read = window_read,
                                   .write = window_write,
                                   .read_wide = window_read_wide,
                                   .write_wide = window_write_wide};
