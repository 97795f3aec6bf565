/* SPDX-License-Identifier: MIT */
/* The names of the exit codes; see the header. Pure. */
#include "lib/exit_codes.h"

const char *exit_name(unsigned code)
{
    switch (code) {
#define X(name, number, text) \
    case EXIT_##name:         \
        return text;
        EXIT_CODES(X)
#undef X
    }
    return "?";
}
