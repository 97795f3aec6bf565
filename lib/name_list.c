/* SPDX-License-Identifier: MIT */
/* A list of names; see the header. */
#include "lib/name_list.h"

#include "lib/string.h"

void name_list_add(struct name_list *list, const char *name)
{
    size_t used = strlen(list->text), comma = used ? 2 : 0;
    if (list->left_out || used + comma + strlen(name) >= sizeof(list->text)) {
        list->left_out++;
        return;
    }
    snprintf(list->text + used, sizeof(list->text) - used, "%s%s", comma ? ", " : "", name);
}

void name_list_print(const struct name_list *list, char *text, size_t size)
{
    if (!list->left_out)
        snprintf(text, size, "%s", list->text);
    else
        snprintf(text, size, "%s%s%u more", list->text, list->text[0] ? ", and " : "",
                 list->left_out);
}
