/* SPDX-License-Identifier: MIT */
/*
 * Writes AML, the byte code of ACPI's tables (ACPI 6.5, chapter 20): as much of it as describes
 * devices without methods. Names have four characters. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *bytes;
    size_t used, size; /* running out of room is a BUG: the descriptions are ours */
};

/* Begins `Scope (path)` or `Device (name)`, and ends what was begun at `begin`. */
size_t aml_scope(struct aml *aml, const char *path);
size_t aml_device(struct aml *aml, const char *name);
void aml_end(struct aml *aml, size_t begin);

/* `Name (name, value)`, with an integer, a string, an EISA ID such as PNP0501, or a package of
 * integers below 256. */
void aml_name_integer(struct aml *aml, const char *name, uint8_t value);
void aml_name_string(struct aml *aml, const char *name, const char *text);
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id);
void aml_name_package(struct aml *aml, const char *name, const uint8_t *values, uint8_t count);

/* The resources of a device, `Name (_CRS, ResourceTemplate () { … })`. */
struct aml_resources {
    uint16_t port;
    uint8_t ports; /* 0: none */
    bool has_line; /* an interrupt, active high, at this pin of the I/O APIC */
    uint32_t line;
    bool level;                   /* it is level-triggered, not edge-triggered */
    uint32_t memory, memory_size; /* 0: none */
};
void aml_name_resources(struct aml *aml, const struct aml_resources *resources);
