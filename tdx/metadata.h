/* SPDX-License-Identifier: MIT */
/*
 * The metadata fields that a TD reads and writes by VM.RD, VM.WR, VP.RD, VP.WR and SYS.RD: which
 * fields exist, and which of their bits the TD may read and write (ABI specification, "Global
 * Metadata", "TD-Scope Metadata" and "VCPU-Scope Metadata"). Pure.
 */
#pragma once

#include "lib/compiler.h"
#include "tdx/td.h"

/* The context that a leaf accesses; CONTEXT_CODE of a field's identifier. */
enum metadata_context {
    METADATA_SYS = 0,
    METADATA_TD = 1,
    METADATA_VP = 2,
};

#define METADATA_NO_FIELD (~0ull) /* on input: the first field; on output: there is no other */

/* A field identifier, as far as it selects the field. */
#define FIELD_CODE     BITS(23, 0)
#define FIELD_CONTEXT  BITS(54, 52)
#define FIELD_CLASS    BITS(61, 56)
#define FIELD_RESERVED (BITS(31, 24) | BITS(49, 47) | BIT(55) | BIT(62))
#define FIELD_LAST     BITS(46, 34) /* LAST_ELEMENT_IN_FIELD and LAST_FIELD_IN_SEQUENCE */

/* Reads field `id`. Returns TDX_SUCCESS and sets *value; or, for METADATA_NO_FIELD,
 * TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT, or an error. *next is the identifier of the next field
 * that the TD may read, or METADATA_NO_FIELD. */
uint64_t metadata_read(struct td_vcpu *vcpu, enum metadata_context context, uint64_t id,
                       uint64_t *value, uint64_t *next) MUST_CHECK;

/* Writes the bits in `mask` of field `id`. Returns TDX_SUCCESS and sets *old to the value before,
 * or an error, and then nothing has changed. */
uint64_t metadata_write(struct td_vcpu *vcpu, enum metadata_context context, uint64_t id,
                        uint64_t value, uint64_t mask, uint64_t *old) MUST_CHECK;
