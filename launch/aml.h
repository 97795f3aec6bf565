/* SPDX-License-Identifier: MIT */
/*
 * A writer of AML, the byte code of ACPI's definition blocks (ACPI 6.5, chapter 20). It supports
 * what the description of devices needs. Names have exactly four characters. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *bytes;
    size_t used, size; /* exceeding the size is a BUG: what callers write is bounded */
};

/* Begin `Scope (path)` or `Device (name)`. Each returns the value that is passed to aml_end() after
 * the contents have been written. */
size_t aml_scope(struct aml *aml, const char *path);
size_t aml_device(struct aml *aml, const char *name);
void aml_end(struct aml *aml, size_t begin);

/* Write `Name (name, value)`, where the value is an integer, a string, an EISA ID such as PNP0501,
 * or a package of `count` integers below 256. */
void aml_name_integer(struct aml *aml, const char *name, uint8_t value);
void aml_name_string(struct aml *aml, const char *name, const char *text);
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id);
void aml_name_package(struct aml *aml, const char *name, const uint8_t *values, uint8_t count);

/* Writes `Method (_OSC, 4) { Return (Arg3) }`: grants whatever control of a PCI host bridge the
 * guest asks for. */
void aml_grant_control(struct aml *aml);

/* Writes `Name (_PRT, Package () { Package () { device << 16 | 0xFFFF, 0, 0, line }, … })`: the
 * INTA# of the devices 1 to `devices` are wired to the I/O APIC's pin `line` + device % `lines`. */
void aml_name_routing(struct aml *aml, unsigned devices, unsigned line, unsigned lines);

/* The resources of a device, which are written as `Name (_CRS, ResourceTemplate () { … })`. */
struct aml_resources {
    uint16_t port;
    uint8_t ports;                /* number of I/O ports, or 0 */
    bool has_line;                /* the device has an interrupt, which is active high */
    uint32_t line;                /* pin of the I/O APIC */
    bool level;                   /* the interrupt is level-triggered, otherwise edge-triggered */
    uint32_t memory, memory_size; /* address and size in bytes; size 0: no registers in memory */

    /* What a PCI host bridge forwards: bus 0, and addresses in memory; size 0: it is none. */
    uint32_t window, window_size;
};
void aml_name_resources(struct aml *aml, const struct aml_resources *resources);
