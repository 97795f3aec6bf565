/* The table of VMCS fields made walkable: names for messages, encodings for tests and dumps. */
#include "vmx/fields.h"

#include "lib/bits.h"

const uint16_t vmcs_fields[] = {
#define X(name, encoding, words) VMCS_##name,
    VMCS_FIELDS(X)
#undef X
};
const unsigned vmcs_field_count = ARRAY_SIZE(vmcs_fields);

/* A field's encoding is even (the odd one is the high half of a 64-bit field) and bits 12 and
 * 31:15 are reserved. Two equal encodings do not compile: they would be two equal case labels. */
#define X(name, encoding, words) \
    _Static_assert(((encoding) & ~0x6ffe) == 0, "VMCS encoding of " words);
VMCS_FIELDS(X)
#undef X

const char *vmcs_field_name(uint32_t encoding)
{
    switch (encoding) {
#define X(name, encoding_, words) \
    case encoding_:               \
        return words;
        VMCS_FIELDS(X)
#undef X
    default:
        return "unknown VMCS field";
    }
}
