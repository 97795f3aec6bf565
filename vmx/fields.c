/* SPDX-License-Identifier: MIT */
/* The table of VMCS fields as data: names for messages, encodings for tests and dumps. */
#include "vmx/fields.h"

#include "lib/bits.h"

const uint16_t vmcs_fields[] = {
#define X(name, encoding, text) VMCS_##name,
    VMCS_FIELDS(X)
#undef X
};
const unsigned vmcs_field_count = ARRAY_SIZE(vmcs_fields);

/* The encoding of a field is even (the odd one accesses the high half of a 64-bit field), and bits
 * 12 and 31:15 are reserved. Two equal encodings do not compile, because they would be equal case
 * labels. */
#define X(name, encoding, text) \
    _Static_assert(((encoding) & ~0x6ffe) == 0, "VMCS encoding of " text);
VMCS_FIELDS(X)
#undef X

const char *vmcs_field_name(uint32_t encoding)
{
    switch (encoding) {
#define X(name, encoding_, text) \
    case encoding_:              \
        return text;
        VMCS_FIELDS(X)
#undef X
    default:
        return "unknown VMCS field";
    }
}
