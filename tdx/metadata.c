/* SPDX-License-Identifier: MIT */
/* The tables of metadata fields, and the rules of their access; see the header. Pure. */
#include "tdx/metadata.h"

#include "ept/tdx_status.h"

/* A row. The identifier is complete, as it is returned for the field; `read` and `write` are the
 * bits that the TD may read and write. */
struct field {
    uint64_t id, read, write;
    uint64_t (*get)(const struct td_vcpu *vcpu);
    /* Changes the bits in `mask` if they still are as in `old`; NULL: the field is constant. */
    uint64_t (*set)(struct td_vcpu *vcpu, uint64_t old, uint64_t value);
};

struct fields {
    const struct field *rows;
    unsigned count;
};

/* ---- TD scope -------------------------------------------------------------------------------- */

static uint64_t get_zero(const struct td_vcpu *vcpu)
{
    (void)vcpu;
    return 0;
}

static uint64_t get_attributes(const struct td_vcpu *vcpu)
{
    return vcpu->td->attributes;
}

static uint64_t get_xfam(const struct td_vcpu *vcpu)
{
    return vcpu->td->xfam;
}

static uint64_t get_max_vcpus(const struct td_vcpu *vcpu)
{
    return vcpu->td->vcpus;
}

static uint64_t get_notify_enables(const struct td_vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->td->notify_enables, __ATOMIC_RELAXED);
}

/* Another vCPU may write at the same time; then the module returns TDX_OPERAND_BUSY. */
static uint64_t exchange(uint64_t *field, uint64_t old, uint64_t value)
{
    bool done =
        __atomic_compare_exchange_n(field, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return done ? TDX_SUCCESS : TDX_OPERAND_BUSY;
}

static uint64_t set_notify_enables(struct td_vcpu *vcpu, uint64_t old, uint64_t value)
{
    return exchange(&vcpu->td->notify_enables, old, value);
}

static uint64_t get_config_flags(const struct td_vcpu *vcpu)
{
    return vcpu->td->config_flags;
}

static uint64_t get_td_ctls(const struct td_vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->td->td_ctls, __ATOMIC_RELAXED);
}

/* PENDING_VE_DISABLE follows ATTRIBUTES.SEPT_VE_DISABLE unless the TD was created flexible. */
static uint64_t set_td_ctls(struct td_vcpu *vcpu, uint64_t old, uint64_t value)
{
    if ((old ^ value) & TD_CTLS_PENDING_VE_DISABLE &&
        !(vcpu->td->config_flags & TD_CONFIG_FLEXIBLE_PENDING_VE))
        return TDX_METADATA_FIELD_VALUE_NOT_VALID;
    return exchange(&vcpu->td->td_ctls, old, value);
}

static const struct field td_fields[] = {
    {0x9010000100000005, 0xffff, 0, get_zero, NULL}, /* NUM_L2_VMS */
    {0x1110000300000000, ~0ull, 0, get_attributes, NULL},
    {0x1110000300000001, ~0ull, 0, get_xfam, NULL},
    {0x1110000200000002, 0xffffffff, 0, get_max_vcpus, NULL},
    {0x1110000000000003, 0xff, 0, get_zero, NULL}, /* GPAW: 0 for less than 52 bits */
    {0x9110000300000010, 1, 1, get_notify_enables, set_notify_enables},
    {0x1110000300000016, ~0ull, 0, get_config_flags, NULL},
    {0x1110000300000017, ~0ull, TD_CTLS_PENDING_VE_DISABLE, get_td_ctls, set_td_ctls},
};

/* ---- vCPU scope ------------------------------------------------------------------------------ */

static uint64_t get_index(const struct td_vcpu *vcpu)
{
    return vcpu->index;
}

static uint64_t get_cpuid_supervisor_ve(const struct td_vcpu *vcpu)
{
    return vcpu->cpuid_ve_supervisor;
}

static uint64_t set_cpuid_supervisor_ve(struct td_vcpu *vcpu, uint64_t old, uint64_t value)
{
    (void)old;
    vcpu->cpuid_ve_supervisor = value;
    return TDX_SUCCESS;
}

static uint64_t get_cpuid_user_ve(const struct td_vcpu *vcpu)
{
    return vcpu->cpuid_ve_user;
}

static uint64_t set_cpuid_user_ve(struct td_vcpu *vcpu, uint64_t old, uint64_t value)
{
    (void)old;
    vcpu->cpuid_ve_user = value;
    return TDX_SUCCESS;
}

static const struct field vp_fields[] = {
    {0xa020000200000002, 0xffffffff, 0, get_index, NULL},
    {0xa020000000000007, 1, 1, get_cpuid_supervisor_ve, set_cpuid_supervisor_ve},
    {0xa020000000000008, 1, 1, get_cpuid_user_ve, set_cpuid_user_ve},
};

/* ---- Access ---------------------------------------------------------------------------------- */

static const struct fields contexts[] = {
    [METADATA_SYS] = {NULL, 0},
    [METADATA_TD] = {td_fields, ARRAY_SIZE(td_fields)},
    [METADATA_VP] = {vp_fields, ARRAY_SIZE(vp_fields)},
};

/* A field is found by its class and code. The context is that of the leaf, and sizes are
 * ignored. */
static const struct field *find_field(enum metadata_context context, uint64_t id)
{
    const struct fields *f = &contexts[context];
    for (unsigned i = 0; i < f->count; i++)
        if (!((f->rows[i].id ^ id) & (FIELD_CLASS | FIELD_CODE)))
            return &f->rows[i];
    return NULL;
}

/* The first field from row `i` on that the TD may read. */
static uint64_t next_readable(const struct fields *f, size_t i)
{
    for (; i < f->count; i++)
        if (f->rows[i].read)
            return f->rows[i].id;
    return METADATA_NO_FIELD;
}

static bool id_is_element(uint64_t id)
{
    return !(id & (FIELD_RESERVED | FIELD_LAST));
}

uint64_t metadata_read(struct td_vcpu *vcpu, enum metadata_context context, uint64_t id,
                       uint64_t *value, uint64_t *next)
{
    const struct fields *f = &contexts[context];
    *next = METADATA_NO_FIELD;
    if (id == METADATA_NO_FIELD) {
        *next = next_readable(f, 0);
        return TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT;
    }
    const struct field *field = id_is_element(id) ? find_field(context, id) : NULL;
    if (!field)
        return TDX_METADATA_FIELD_ID_INCORRECT;
    if (!field->read)
        return TDX_METADATA_FIELD_NOT_READABLE;
    *value = field->get(vcpu) & field->read;
    *next = next_readable(f, (size_t)(field - f->rows) + 1);
    return TDX_SUCCESS;
}

uint64_t metadata_write(struct td_vcpu *vcpu, enum metadata_context context, uint64_t id,
                        uint64_t value, uint64_t mask, uint64_t *old)
{
    const struct field *field = id_is_element(id) ? find_field(context, id) : NULL;
    if (!field)
        return TDX_METADATA_FIELD_ID_INCORRECT;
    const uint64_t bits = field->write & mask, before = field->get(vcpu);
    if (!bits)
        return TDX_METADATA_FIELD_NOT_WRITABLE;
    if ((before ^ value) & mask & ~field->write)
        return TDX_METADATA_FIELD_VALUE_NOT_VALID;
    uint64_t status = field->set(vcpu, before, (before & ~bits) | (value & bits));
    if (status == TDX_SUCCESS)
        *old = before & field->read;
    return status;
}
