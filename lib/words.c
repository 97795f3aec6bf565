/* SPDX-License-Identifier: MIT */
/* The parser of configuration words; see the header. Pure. */
#include "lib/words.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* One word of the line: its name and, after '=', its value. */
struct token {
    const char *name, *value; /* `value` is NULL if there is no '=' */
    int name_length, value_length;
};

bool word_number(const char *text, int length, uint64_t *value)
{
    unsigned base = 10;
    int at = 0;
    if (length > 2 && text[0] == '0' && text[1] == 'x') {
        base = 16;
        at = 2;
    }
    *value = 0;
    for (; at < length; at++) {
        unsigned digit =
            text[at] <= '9' ? (unsigned)text[at] - '0' : (unsigned)(text[at] | 32) - 'a' + 10;
        if (digit >= base || *value > (UINT64_MAX - digit) / base)
            return false;
        *value = *value * base + digit;
    }
    return length > 0;
}

static bool parse_size(const char *text, int length, uint64_t *value)
{
    unsigned shift = 0;
    if (length) {
        char unit = text[length - 1];
        shift = unit == 'K' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0;
    }
    if (!word_number(text, shift ? length - 1 : length, value) || *value > UINT64_MAX >> shift)
        return false;
    *value <<= shift;
    return true;
}

static bool word_equals(const char *word, const char *text, int length)
{
    return strlen(word) == (size_t)length && !strncmp(word, text, (size_t)length);
}

static bool word_is_optional(const struct word *word)
{
    return word->kind == WORD_CHOICE && !word->choices[0][0];
}

/* Stores the value of a token. Returns false if the table does not allow it. */
static bool word_store(const struct word *word, const struct token *token, void *target)
{
    void *place = (char *)target + word->offset;
    const char *value = token->value ? token->value : "";
    uint64_t number = 1;

    bool alone = word->kind == WORD_FLAG || word_is_optional(word);
    if (token->value ? word->kind == WORD_FLAG : !alone)
        return false;
    switch (word->kind) {
    case WORD_FLAG:
        break;
    case WORD_NUMBER:
    case WORD_SIZE:
        if (!(word->kind == WORD_SIZE ? parse_size : word_number)(token->value, token->value_length,
                                                                  &number) ||
            number < word->min || number > word->max)
            return false;
        break;
    case WORD_CHOICE:
        for (number = 0; word->choices[number]; number++)
            if (word_equals(word->choices[number], value, token->value_length))
                break;
        if (!word->choices[number])
            return false;
        number += word->min;
        break;
    case WORD_TEXT:
        if (!token->value_length || token->value_length >= WORD_TEXT_MAX)
            return false;
        memset(place, 0, WORD_TEXT_MAX);
        memcpy(place, token->value, (size_t)token->value_length);
        return true;
    }
    memcpy(place, &number, sizeof(number));
    return true;
}

/* Formats a size as it may be written: in the largest unit that divides it. */
static void size_text(uint64_t size, char *text, size_t room)
{
    static const char units[] = {0, 'K', 'M', 'G'};
    unsigned unit = 0;
    for (; size && !(size % 1024) && unit + 1 < ARRAY_SIZE(units); unit++)
        size /= 1024;
    if (unit)
        snprintf(text, room, "%lu%c", size, units[unit]);
    else
        snprintf(text, room, "%lu", size);
}

/* Describes what the table allows for one word, for example "gva_cache=off|exits|verify". */
static void word_describe(const struct word *word, char *text, size_t size)
{
    int used;
    char min[24], max[24];
    switch (word->kind) {
    case WORD_FLAG:
        snprintf(text, size, "%s", word->name);
        break;
    case WORD_NUMBER:
        snprintf(text, size, "%s=%lu..%lu", word->name, word->min, word->max);
        break;
    case WORD_SIZE:
        size_text(word->min, min, sizeof(min));
        size_text(word->max, max, sizeof(max));
        snprintf(text, size, "%s=%s..%s (bytes, or with K, M or G)", word->name, min, max);
        break;
    case WORD_CHOICE:
        used = snprintf(text, size, word_is_optional(word) ? "%s, %s=" : "%s=", word->name,
                        word->name);
        for (size_t i = word_is_optional(word), first = i; word->choices[i] && used < (int)size;
             i++)
            used += snprintf(text + used, size - (size_t)used, "%s%s", i > first ? "|" : "",
                             word->choices[i]);
        break;
    case WORD_TEXT:
        snprintf(text, size, "%s=TEXT (up to %d characters)", word->name, WORD_TEXT_MAX - 1);
        break;
    }
}

static int refuse_unknown(const struct token *token, const struct word *table, size_t words,
                          const char *where)
{
    char known[200];
    int used = 0;
    for (size_t i = 0; i < words && used < (int)sizeof(known); i++)
        used += snprintf(known + used, sizeof(known) - (size_t)used, " %s%s", table[i].name,
                         table[i].kind == WORD_FLAG || word_is_optional(&table[i]) ? "" : "=");
    log_error("%s: unknown word \"%.*s\"; allowed:%s", where, token->name_length, token->name,
              known);
    return -EINVAL;
}

static int parse_token(const struct token *token, const struct word *table, size_t words,
                       uint64_t *seen, void *target, const char *where)
{
    size_t i;
    for (i = 0; i < words; i++)
        if (word_equals(table[i].name, token->name, token->name_length))
            break;
    if (i == words)
        return refuse_unknown(token, table, words, where);
    if (*seen & BIT(i)) {
        log_error("%s: \"%s\" is given twice; give it once", where, table[i].name);
        return -EINVAL;
    }
    *seen |= BIT(i);
    if (!word_store(&table[i], token, target)) {
        char allowed[128];
        word_describe(&table[i], allowed, sizeof(allowed));
        log_error("%s: bad value in \"%.*s%s%.*s\"; allowed: %s", where, token->name_length,
                  token->name, token->value ? "=" : "", token->value_length,
                  token->value ? token->value : "", allowed);
        return -EINVAL;
    }
    return 0;
}

int words_parse(const char *line, const struct word *table, size_t words, void *target,
                const char *where)
{
    uint64_t seen = 0;
    const char *at = line;

    for (;;) {
        while (*at == ' ' || *at == '\t')
            at++;
        if (!*at)
            return (int)(at - line);
        const char *end = at, *equals = NULL;
        for (; *end && *end != ' ' && *end != '\t'; end++)
            if (*end == '=' && !equals)
                equals = end;
        if (word_equals("--", at, (int)(end - at))) {
            while (*end == ' ' || *end == '\t')
                end++;
            return (int)(end - line);
        }
        struct token token = {.name = at, .name_length = (int)((equals ? equals : end) - at)};
        if (equals) {
            token.value = equals + 1;
            token.value_length = (int)(end - token.value);
        }
        int error = parse_token(&token, table, words, &seen, target, where);
        if (error)
            return error;
        at = end;
    }
}
