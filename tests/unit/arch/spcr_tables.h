/* SPDX-License-Identifier: MIT */
/* Makes the tables by which ACPI names serial ports, for hosted tests. */
#pragma once

#include "arch/x86/acpi.h"

#include <string.h>

static const struct acpi_header *tables_spcr, *tables_dbg2;

static uint8_t spcr_bytes[88], dbg2_bytes[512];

static inline void put(uint8_t *at, uint64_t value, size_t size)
{
    memcpy(at, &value, size);
}

static inline void put_address(uint8_t *at, uint8_t space, uint8_t bits, uint8_t access,
                               uint64_t address)
{
    at[0] = space, at[1] = bits, at[2] = 0, at[3] = access;
    put(at + 4, address, 8);
}

/* An SPCR of revision 2 for a 16550 at I/O ports, 9600 baud. */
static inline uint8_t *spcr(uint64_t port)
{
    memset(spcr_bytes, 0, sizeof(spcr_bytes));
    memcpy(spcr_bytes, "SPCR", 4);
    put(spcr_bytes + 4, 80, 4);
    spcr_bytes[8] = 2;
    put_address(spcr_bytes + 40, 1, 8, 1, port);
    spcr_bytes[58] = 3;
    put(spcr_bytes + 64, 0xffffffff, 4);
    tables_spcr = (const struct acpi_header *)spcr_bytes;
    return spcr_bytes;
}

/* Adds a device to a DBG2. */
static inline uint8_t *dbg2_device(uint16_t type, uint16_t subtype)
{
    uint32_t length, count;
    if (!tables_dbg2) {
        memset(dbg2_bytes, 0, sizeof(dbg2_bytes));
        memcpy(dbg2_bytes, "DBG2", 4);
        put(dbg2_bytes + 4, 44, 4);
        put(dbg2_bytes + 36, 44, 4);
        tables_dbg2 = (const struct acpi_header *)dbg2_bytes;
    }
    memcpy(&length, dbg2_bytes + 4, 4);
    memcpy(&count, dbg2_bytes + 40, 4);
    uint8_t *device = dbg2_bytes + length;
    put(device + 1, 48, 2);
    device[3] = 1;
    put(device + 12, type, 2);
    put(device + 14, subtype, 2);
    put(device + 18, 22, 2);
    put(device + 20, 34, 2);
    put(dbg2_bytes + 4, length + 48, 4);
    put(dbg2_bytes + 40, count + 1, 4);
    return device;
}
