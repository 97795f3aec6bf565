/* SPDX-License-Identifier: MIT */
/* The log in RAM that a warm reset does not clear; see the header. Pure. */
#include "lib/kept_log.h"

#include "lib/bits.h"
#include "lib/exit_codes.h"
#include "lib/log.h"
#include "lib/string.h"
#include "lib/visible.h"

#define MAGIC 0x31474f4c56545045ull /* EPTVLOG1 */

/* The seal: bits 63:32 are the checksum, 31:16 the length, 15:0 the state, which is 0 while the
 * boot goes on, and the exit code + 1 once it has ended. */
#define SEAL_SUM(seal)    ((uint32_t)((seal) >> 32))
#define SEAL_SAYS(seal)   ((uint32_t)(seal))
#define SEAL_LENGTH(seal) ((size_t)((seal) >> 16 & 0xffff))
#define SEAL_STATE(seal)  ((unsigned)((seal)&0xffff))

#define LINE_MARK  "before| "
#define LINE_SHOWN (LOG_LINE_MAX - sizeof(LINE_MARK) - VISIBLE_MAX - 2)

#define SUM_START 0x811c9dc5u
#define SUM_PRIME 0x01000193u

/* FNV-1a: three instructions for a character, and each change of a single byte is noticed. */
static uint32_t kept_sum(uint32_t sum, const void *data, size_t size)
{
    for (const uint8_t *byte = data; size; size--, byte++)
        sum = (sum ^ *byte) * SUM_PRIME;
    return sum;
}

/* The checksum of what stands before the seal. */
static uint32_t sum_of_head(const struct kept_record *record)
{
    return kept_sum(SUM_START, record, offsetof(struct kept_record, seal));
}

/* Adds the length and the state, which are the lower half of the seal. */
static uint32_t sum_with_state(uint32_t sum, uint32_t says)
{
    return kept_sum(sum, &says, sizeof(says));
}

/* ---- The log of an earlier boot -------------------------------------------------------------- */

static bool record_is_valid(const struct kept_record *record, unsigned index)
{
    uint64_t seal = record->seal;
    if (record->magic != MAGIC || record->number % KEPT_RECORDS != index ||
        SEAL_LENGTH(seal) > KEPT_TEXT)
        return false;
    uint32_t sum = kept_sum(sum_of_head(record), record->text, SEAL_LENGTH(seal));
    return sum_with_state(sum, SEAL_SAYS(seal)) == SEAL_SUM(seal);
}

/* Boots and records are compared by their distance, so that their numbers may wrap around. */
static bool is_later(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

static bool record_is_newer(const struct kept_record *record, const struct kept_found *than)
{
    return !than->bank || is_later(record->boot, than->boot) ||
           (record->boot == than->boot && is_later(record->number, than->last));
}

void kept_find(const struct kept_area *area, uint64_t address, struct kept_found *found)
{
    for (unsigned i = 0; i < KEPT_BANKS * KEPT_RECORDS; i++) {
        const struct kept_record *bank = area->banks[i / KEPT_RECORDS];
        const struct kept_record *record = &bank[i % KEPT_RECORDS];
        if (!record_is_valid(record, i % KEPT_RECORDS) || !record_is_newer(record, found))
            continue;
        unsigned state = SEAL_STATE(record->seal);
        *found = (struct kept_found){.bank = bank,
                                     .address = address + i / KEPT_RECORDS * sizeof(area->banks[0]),
                                     .boot = record->boot,
                                     .last = record->number,
                                     .ended = state,
                                     .code = state - 1};
    }
    /* The oldest record of a full ring may have been about to be replaced. */
    found->first = found->last > KEPT_RECORDS - 2 ? found->last - (KEPT_RECORDS - 2) : 0;
}

/* The text of a record, or NULL if it is damaged or belongs to another boot. */
static const char *text_of(const struct kept_found *found, uint32_t number, size_t *length)
{
    const struct kept_record *record = &found->bank[number % KEPT_RECORDS];
    if (!record_is_valid(record, number % KEPT_RECORDS) || record->boot != found->boot ||
        record->number != number)
        return NULL;
    *length = SEAL_LENGTH(record->seal);
    return record->text;
}

/* A line that is put together from characters. */
struct kept_line {
    char text[LINE_SHOWN + VISIBLE_MAX + 1];
    size_t length;
};

static void line_print(struct kept_line *line)
{
    line->text[line->length] = 0;
    if (line->length)
        log_info(LINE_MARK "%s", line->text);
    line->length = 0;
}

static void line_add(struct kept_line *line, char c)
{
    if (c == '\n') {
        line_print(line);
        return;
    }
    line->length += visible(line->text + line->length, c);
    if (line->length >= LINE_SHOWN)
        line_print(line);
}

/* Prints that records from..to-1 are damaged, if these are any. */
static void print_loss(const struct kept_found *found, uint32_t from, uint32_t to)
{
    if (from != to)
        log_info("kept log: up to %u characters are lost here: %u records from %#lx on are damaged",
                 (to - from) * KEPT_TEXT, to - from,
                 found->address + from % KEPT_RECORDS * sizeof(*found->bank));
}

static void print_records(const struct kept_found *found)
{
    struct kept_line line = {.length = 0};
    uint32_t shown = found->first; /* what is before this record has been printed */
    for (uint32_t number = found->first; number != found->last + 1; number++) {
        size_t length;
        const char *text = text_of(found, number, &length);
        if (!text)
            continue;
        if (shown != number)
            line_print(&line);
        print_loss(found, shown, number);
        for (size_t at = 0; at < length; at++)
            line_add(&line, text[at]);
        shown = number + 1;
    }
    line_print(&line);
}

void kept_print(const struct kept_found *found)
{
    if (!found->bank)
        return;
    if (found->ended && found->code != EXIT_PANIC) {
        log_info("kept log: boot %u ended with EXIT %u %s", found->boot, found->code,
                 exit_name(found->code));
        return;
    }
    log_info(found->ended
                 ? "kept log: boot %u panicked; its log follows%s"
                 : "kept log: boot %u did not end: it hung or ran until it was reset, or a "
                   "CPU shut down (triple fault); its log follows%s",
             found->boot, found->first ? ", without its beginning" : "");
    print_records(found);
    log_info(
        "kept log: this was the log of boot %u; this is boot %u since the machine was switched "
        "on",
        found->boot, found->boot + 1);
}

/* ---- The log of this boot -------------------------------------------------------------------- */

static void record_seal(struct kept_log *log, unsigned state)
{
    struct kept_record *record = &log->bank[log->number % KEPT_RECORDS];
    uint32_t says = (uint32_t)log->length << 16 | state;
    uint64_t seal = (uint64_t)sum_with_state(log->sum, says) << 32 | says;
    __atomic_store_n(&record->seal, seal, __ATOMIC_RELEASE);
    log->flush(record, offsetof(struct kept_record, text));
}

static void record_begin(struct kept_log *log)
{
    struct kept_record *record = &log->bank[log->number % KEPT_RECORDS];
    record->magic = MAGIC;
    record->boot = log->boot;
    record->number = log->number;
    log->length = 0;
    log->sum = sum_of_head(record);
    record_seal(log, 0);
}

void kept_begin(struct kept_log *log, struct kept_area *area, const struct kept_found *found,
                void (*flush)(const void *from, size_t size))
{
    unsigned bank = found->bank == area->banks[0];
    *log = (struct kept_log){.bank = area->banks[bank], .boot = found->boot + 1, .flush = flush};
    record_begin(log);
}

void kept_write(struct kept_log *log, const char *text, size_t length)
{
    while (length) { /* a CPU that has lost its patience may be in here beside another one */
        if (log->length >= KEPT_TEXT) {
            log->number++;
            record_begin(log);
        }
        size_t used = READ_ONCE(log->length);
        used = used < KEPT_TEXT ? used : KEPT_TEXT;
        char *to = log->bank[log->number % KEPT_RECORDS].text + used;
        size_t part = KEPT_TEXT - used < length ? KEPT_TEXT - used : length;
        memcpy(to, text, part);
        log->flush(to, part);
        log->sum = kept_sum(log->sum, to, part);
        log->length = used + part;
        record_seal(log, 0);
        text += part;
        length -= part;
    }
}

void kept_end(struct kept_log *log, unsigned code)
{
    record_seal(log, code + 1);
}
