/* SPDX-License-Identifier: MIT */
/* The tables of metadata fields, and the rules of their access; see the header. Pure. */
#include "tdx/metadata.h"

#include "ept/tdx_status.h"
#include "tdx/measure.h"
#include "tdx/td_features.h"

#include "lib/string.h"

#define VENDOR_INTEL  0x8086u
#define MAJOR_VERSION 1u
#define MINOR_VERSION 5u

/* TDX_FEATURES0, as far as it concerns the TD: VP.RD and VP.WR, MR.VERIFYREPORT, enumeration of the
 * topology, fewer #VEs. */
#define FEATURES0 (BIT(3) | BIT(8) | BIT(20) | BIT(30))

#define TD_CTLS_WRITABLE                                                        \
    (TD_CTLS_PENDING_VE_DISABLE | TD_CTLS_ENUM_TOPOLOGY | TD_CTLS_VIRT_CPUID2 | \
     TD_CTLS_REDUCE_VE | TD_CTLS_LOCK)

#define BUSY_FIELD 176u /* the operand that TDX_OPERAND_BUSY blames: the field */

/* Where the value is. */
enum source {
    CONSTANT, /* `at` itself */
    OF_TD,    /* `size` bytes in struct td */
    OF_VCPU,  /* … in struct td_vcpu */
    MRTD,
    RTMR,
};

/* A row: a field, or consecutive fields, of `elements` in all. The identifier is complete, as it is
 * returned for the first element. The TD may read and write the bits of `read` and `write`. */
struct field {
    uint64_t id;
    uint64_t read, write;
    uint16_t elements;
    uint8_t source, size;
    uint32_t at;
};

struct fields {
    const struct field *rows;
    unsigned count;
};

#define BYTES(n)      BITS(8 * (n)-1, 0)
#define IN_TD(member) OF_TD, sizeof(((struct td *)0)->member), offsetof(struct td, member)
#define IN_VCPU(member) \
    OF_VCPU, sizeof(((struct td_vcpu *)0)->member), offsetof(struct td_vcpu, member)
#define IS(value) CONSTANT, 0, value

/* Each table is in the order of class and code, which is that of iteration. */
static const struct field sys_fields[] = {
    {0x0800000200000000, BYTES(4), 0, 1, IS(VENDOR_INTEL)},
    {0x0800000100000003, BYTES(2), 0, 1, IS(MINOR_VERSION)},
    {0x0800000100000004, BYTES(2), 0, 1, IS(MAJOR_VERSION)},
    {0x0a00000200000000, BYTES(4), 0, 1, IS(0)}, /* SYS_ATTRIBUTES */
    {0x0a00000000000001, BYTES(1), 0, 1, IS(1)}, /* NUM_TDX_FEATURES */
    {0x0a00000300000008, BYTES(8), 0, 1, IS(FEATURES0)},
    {0xa000000300000000, BYTES(8), 0, 1, IS(0)}, /* MIG_ATTRIBUTES */
    {0x2000000100000001, BYTES(2), 0, 4, IS(0)}, /* {MIN,MAX}_{EXPORT,IMPORT}_VERSION */
    {0xa200000100000000, BYTES(2), 0, 1, IS(0)}, /* GUEST_L2_GPA_ATTR_MASK */
};

static const struct field td_fields[] = {
    {0x8010000300000020, BYTES(8), 0, 4, IS(0)}, /* TD_UUID */
    {0x9010000200000001, BYTES(4), 0, 1, IN_TD(vcpus)},
    {0x9010000100000005, BYTES(2), 0, 1, IS(0)}, /* NUM_L2_VMS */
    {0x1110000300000000, BYTES(8), 0, 1, IN_TD(attributes)},
    {0x1110000300000001, BYTES(8), 0, 1, IN_TD(xfam)},
    {0x1110000200000002, BYTES(4), 0, 1, IN_TD(vcpus)}, /* MAX_VCPUS */
    {0x1110000000000003, BYTES(1), 0, 1, IS(0)},        /* GPAW: less than 52 bits */
    {0x111000010000000c, BYTES(2), 0, 1, IN_TD(tsc_frequency)},
    {0x9110000300000010, BIT(0), BIT(0), 1, IN_TD(notify_enables)},
    {0x1110000300000016, BYTES(8), 0, 1, IN_TD(config_flags)},
    {0x1110000300000017, BYTES(8), TD_CTLS_WRITABLE, 1, IN_TD(td_ctls)},
    {0x9110000000000019, BYTES(1), 0, 1, IS(1)}, /* TOPOLOGY_ENUM_CONFIGURED */
    {0x9110000300000022, BYTES(8), TDX_PV_ALL, 1, IN_TD(feature_pv)},
    {0x1310000300000000, BYTES(8), 0, 6, MRTD, 0, 0},
    {0x1310000300000010, BYTES(8), 0, 6, IS(0)}, /* MRCONFIGID */
    {0x1310000300000018, BYTES(8), 0, 6, IS(0)}, /* MROWNER */
    {0x1310000300000020, BYTES(8), 0, 6, IS(0)}, /* MROWNERCONFIG */
    {0x1310000300000040, BYTES(8), 0, 24, RTMR, 0, 0},
    {0x9810000300000040, BYTES(8), 0, 4, IS(0)},  /* PRE_IMPORT_UUID */
    {0x9910000300000000, BYTES(8), 0, 6, IS(0)},  /* SERVTD_HASH */
    {0x9910000100000006, BYTES(2), 0, 1, IS(0)},  /* SERVTD_NUM */
    {0x9910000300000080, BYTES(8), 0, 16, IS(0)}, /* SERVTD_BINDINGS_TABLE */
};

static const struct field vp_fields[] = {
    {0xa020000200000002, BYTES(4), 0, 1, IN_VCPU(index)},
    {0xa020000000000007, BIT(0), BIT(0), 1, IN_VCPU(cpuid_ve_supervisor)},
    {0xa020000000000008, BIT(0), BIT(0), 1, IN_VCPU(cpuid_ve_user)},
};

static const struct fields contexts[] = {
    [METADATA_SYS] = {sys_fields, ARRAY_SIZE(sys_fields)},
    [METADATA_TD] = {td_fields, ARRAY_SIZE(td_fields)},
    [METADATA_VP] = {vp_fields, ARRAY_SIZE(vp_fields)},
};

/* The fields that exist for the VMM or for migration only: a TD may not read them. By class, and
 * first and last code. */
static const struct hidden {
    uint8_t context, class;
    uint16_t first, last;
} hidden[] = {
    {0, 0x00, 0x0, 0x8},     {0, 0x08, 0x1, 0x2},     {0, 0x08, 0x5, 0x6},
    {0, 0x09, 0x0, 0x6},     {0, 0x10, 0x0, 0x0},     {0, 0x10, 0x80, 0x9f},
    {0, 0x10, 0x100, 0x11f}, {0, 0x11, 0x8, 0x9},     {0, 0x11, 0x10, 0x12},
    {0, 0x18, 0x0, 0x0},     {0, 0x18, 0x100, 0x101}, {0, 0x18, 0x200, 0x201},
    {0, 0x19, 0x0, 0x4},     {0, 0x19, 0x6, 0x7},     {0, 0x19, 0x400, 0x41f},
    {0, 0x19, 0x500, 0x53f}, {0, 0x19, 0x600, 0x600}, {0, 0x19, 0x800, 0x801},
    {0, 0x19, 0x810, 0x88f}, {0, 0x20, 0x10, 0x10},   {0, 0x20, 0x20, 0x22},
    {0, 0x21, 0x0, 0x2},     {0, 0x22, 0x1, 0x6},     {1, 0x00, 0x1, 0x2},
    {1, 0x00, 0x4, 0x5},     {1, 0x00, 0x10, 0x18},   {1, 0x01, 0x1, 0x2},
    {1, 0x02, 0x0, 0x5},     {1, 0x10, 0x2, 0x2},     {1, 0x10, 0x4, 0x4},
    {1, 0x11, 0x4, 0x4},     {1, 0x11, 0xa, 0xb},     {1, 0x11, 0xd, 0xf},
    {1, 0x11, 0x11, 0x15},   {1, 0x11, 0x80, 0xcf},   {1, 0x11, 0x800, 0x812},
    {1, 0x12, 0x0, 0x2},     {1, 0x14, 0x0, 0x9f},    {1, 0x16, 0x10a, 0x10a},
    {1, 0x16, 0x480, 0x480}, {1, 0x16, 0x485, 0x489}, {1, 0x16, 0x48b, 0x493},
    {1, 0x18, 0x1, 0x6},     {1, 0x18, 0x10, 0x21},   {1, 0x18, 0x30, 0x32},
    {1, 0x18, 0x34, 0x34},   {1, 0x1a, 0x0, 0x1ff},   {1, 0x20, 0x0, 0x1ff},
    {2, 0x01, 0x0, 0x7f},    {2, 0x02, 0x0, 0x5},     {2, 0x02, 0x10, 0x11},
    {2, 0x10, 0x0, 0xf},     {2, 0x11, 0x0, 0x3},     {2, 0x12, 0x0, 0x5ff},
    {2, 0x20, 0x0, 0x0},     {2, 0x20, 0x3, 0x4},     {2, 0x20, 0x6, 0x6},
    {2, 0x20, 0xa, 0x1e},    {2, 0x20, 0x30, 0x32},   {2, 0x20, 0x40, 0x42},
};

static bool is_hidden(enum metadata_context context, uint64_t id)
{
    uint64_t class = field_get(id, FIELD_CLASS), code = field_get(id, FIELD_CODE);
    for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++) {
        const struct hidden *h = &hidden[i];
        if (h->context == context && h->class == class && code >= h->first && code <= h->last)
            return true;
    }
    return false;
}

/* ---- Values ---------------------------------------------------------------------------------- */

static uint64_t word_of(const uint8_t *bytes, unsigned index)
{
    uint64_t word;
    memcpy(&word, bytes + sizeof(word) * index, sizeof(word));
    return word;
}

static uint64_t metadata_member(const void *at, uint8_t size)
{
    switch (size) {
    case 1:
        return *(const uint8_t *)at;
    case 2:
        return *(const uint16_t *)at;
    case 4:
        return *(const uint32_t *)at;
    default: /* another vCPU may be writing it */
        return __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED);
    }
}

static uint64_t value_of(const struct td_vcpu *vcpu, const struct field *field, unsigned element)
{
    struct td_measurement *measurement = vcpu->td->measurement;
    uint8_t rtmr[TDX_RTMRS][SHA384_SIZE];
    switch ((enum source)field->source) {
    case CONSTANT:
        return field->at;
    case OF_TD:
        return metadata_member((const uint8_t *)vcpu->td + field->at, field->size);
    case OF_VCPU:
        return metadata_member((const uint8_t *)vcpu + field->at, field->size);
    case MRTD:
        return measurement ? word_of(measurement->mrtd, element) : 0;
    case RTMR:
        if (!measurement)
            return 0;
        tdx_rtmr_read(measurement, rtmr);
        return word_of(rtmr[0], element);
    }
    return 0;
}

/* Another vCPU may write a field of the TD at the same time; then the module returns busy. */
static uint64_t metadata_store(struct td_vcpu *vcpu, const struct field *field, uint64_t old,
                               uint64_t value)
{
    if (field->source == OF_VCPU) {
        *((uint8_t *)vcpu + field->at) = (uint8_t)value;
        return TDX_SUCCESS;
    }
    uint64_t *word = (uint64_t *)(void *)((uint8_t *)vcpu->td + field->at);
    bool done =
        __atomic_compare_exchange_n(word, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return done ? TDX_SUCCESS : TDX_OPERAND_BUSY | BUSY_FIELD;
}

/* PENDING_VE_DISABLE follows ATTRIBUTES.SEPT_VE_DISABLE unless the TD was created flexible. Once
 * LOCK is set, nothing changes any more. */
static uint64_t check_td_ctls(const struct td *td, uint64_t old, uint64_t value)
{
    if (old & TD_CTLS_LOCK && old != value)
        return TDX_METADATA_FIELD_CURRENTLY_NOT_WRITABLE;
    if ((old ^ value) & TD_CTLS_PENDING_VE_DISABLE &&
        !(td->config_flags & TD_CONFIG_FLEXIBLE_PENDING_VE))
        return TDX_METADATA_FIELD_VALUE_NOT_VALID;
    return TDX_SUCCESS;
}

/* ---- Access ---------------------------------------------------------------------------------- */

static bool id_is_element(uint64_t id)
{
    return !(id & (FIELD_RESERVED | FIELD_LAST));
}

/* A field is found by its class and code. The context is that of the leaf, and sizes are
 * ignored. */
static const struct field *find_field(enum metadata_context context, uint64_t id, unsigned *element)
{
    const struct fields *f = &contexts[context];
    for (unsigned i = 0; i < f->count; i++) {
        const struct field *row = &f->rows[i];
        uint64_t code = field_get(id, FIELD_CODE) - field_get(row->id, FIELD_CODE);
        if (!((row->id ^ id) & FIELD_CLASS) && code < row->elements) {
            *element = (unsigned)code;
            return row;
        }
    }
    return NULL;
}

/* Why an identifier has no row. */
static uint64_t no_field(enum metadata_context context, uint64_t id, uint64_t status)
{
    return id_is_element(id) && is_hidden(context, id) ? status : TDX_METADATA_FIELD_ID_INCORRECT;
}

uint64_t metadata_read(struct td_vcpu *vcpu, enum metadata_context context, uint64_t id,
                       uint64_t *value, uint64_t *next)
{
    const struct fields *f = &contexts[context];
    unsigned element;
    *next = METADATA_NO_FIELD;
    if ((id | FIELD_CONTEXT) == METADATA_NO_FIELD) {
        *next = f->rows[0].id;
        return TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT;
    }
    const struct field *field = id_is_element(id) ? find_field(context, id, &element) : NULL;
    if (!field)
        return no_field(context, id, TDX_METADATA_FIELD_NOT_READABLE);
    *value = value_of(vcpu, field, element) & field->read;
    if (element + 1u < field->elements)
        *next = field->id + element + 1;
    else if (field + 1 < f->rows + f->count)
        *next = field[1].id;
    return TDX_SUCCESS;
}

uint64_t metadata_write(struct td_vcpu *vcpu, enum metadata_context context, uint64_t id,
                        uint64_t value, uint64_t mask, uint64_t *old)
{
    unsigned element;
    const struct field *field = id_is_element(id) ? find_field(context, id, &element) : NULL;
    if (!field)
        return no_field(context, id, TDX_METADATA_FIELD_NOT_WRITABLE);
    const uint64_t bits = field->write & mask, before = value_of(vcpu, field, element);
    if (!bits)
        return TDX_METADATA_FIELD_NOT_WRITABLE;
    if ((before ^ value) & mask & ~field->write)
        return TDX_METADATA_FIELD_VALUE_NOT_VALID;
    const uint64_t after = (before & ~bits) | (value & bits);
    uint64_t status = TDX_SUCCESS;
    if (field->source == OF_TD && field->at == offsetof(struct td, td_ctls))
        status = check_td_ctls(vcpu->td, before, after);
    if (status == TDX_SUCCESS)
        status = metadata_store(vcpu, field, before, after);
    if (status == TDX_SUCCESS)
        *old = before & field->read;
    return status;
}
