/* SPDX-License-Identifier: MIT */
/* The parser of configuration words; see the header. Pure. */
#include "lib/words.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log_list.h"
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

/* Adds what the table allows for one word, for example "gva_cache=off|exits|verify". */
static void word_describe(const struct word *word, struct log_list *list)
{
    char text[96], min[24], max[24];
    const size_t optional = word_is_optional(word);
    switch (word->kind) {
    case WORD_FLAG:
        snprintf(text, sizeof(text), "%s", word->name);
        break;
    case WORD_NUMBER:
        snprintf(text, sizeof(text), "%s=%lu..%lu", word->name, word->min, word->max);
        break;
    case WORD_SIZE:
        size_text(word->min, min, sizeof(min));
        size_text(word->max, max, sizeof(max));
        snprintf(text, sizeof(text), "%s=%s..%s (bytes, or with K, M or G)", word->name, min, max);
        break;
    case WORD_CHOICE:
        snprintf(text, sizeof(text), optional ? "%s, %s=" : "%s=", word->name, word->name);
        break;
    case WORD_TEXT:
        snprintf(text, sizeof(text), "%s=TEXT (up to %d characters)", word->name,
                 WORD_TEXT_MAX - 1);
        break;
    }
    log_list_add(list, " ", text);
    for (size_t i = optional; word->kind == WORD_CHOICE && word->choices[i]; i++)
        log_list_add(list, i > optional ? "|" : "", word->choices[i]);
}

/* A message shows so many characters of a name or a value. */
static int shown(int length)
{
    return length < WORD_TEXT_MAX ? length : WORD_TEXT_MAX;
}

static int refuse_unknown(const struct token *token, const struct word *table, size_t words,
                          const char *where)
{
    struct log_list known;
    log_list_begin(&known, "%s: unknown word \"%.*s\"; allowed:", where, shown(token->name_length),
                   token->name);
    for (size_t i = 0; i < words; i++) {
        char name[40];
        snprintf(name, sizeof(name), "%s%s", table[i].name,
                 table[i].kind == WORD_FLAG || word_is_optional(&table[i]) ? "" : "=");
        log_list_add(&known, " ", name);
    }
    log_list_end(&known);
    return -EINVAL;
}

static int refuse_value(const struct token *token, const struct word *word, const char *where)
{
    struct log_list allowed;
    log_list_begin(&allowed, "%s: bad value in \"%.*s%s%.*s\"; allowed:", where,
                   shown(token->name_length), token->name, token->value ? "=" : "",
                   shown(token->value_length), token->value ? token->value : "");
    word_describe(word, &allowed);
    log_list_end(&allowed);
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
    if (!word_store(&table[i], token, target))
        return refuse_value(token, &table[i], where);
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
