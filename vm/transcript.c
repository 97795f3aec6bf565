/* SPDX-License-Identifier: MIT */
#include "vm/transcript.h"

#include "lib/cpu_local.h"
#include "lib/assert.h"
#include "lib/page.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "lib/trace.h"
#include "lib/visible.h"

/* The most characters that are printed at a time. In Bochs a character takes about 300
 * instructions. If a screen has to scroll first, it scrolls in separate pieces (log_room()). */
#define PIECE 6u

struct text_page {
    struct text_page *next;
    size_t used;
    char text[PAGE_SIZE - 2 * sizeof(uint64_t)]; /* lines, each with its newline */
};

/* The kinds of lines, which have different bounds. */
enum line_kind {
    LINE_TEXT,   /* a line of the guest */
    LINE_RESULT, /* a line of the guest that is a KTAP result */
    LINE_ERROR,  /* an error or warning that was logged on behalf of the VM */
    LINE_NOTE,   /* another message that was logged on behalf of the VM */
    LINE_LIST,   /* a line of the hypervisor from transcript_list() */
    LINE_OURS,   /* another line of the hypervisor, which is always kept */
    LINE_LIVE,   /* not a line but a byte of the guest, from transcript_live() */
    LINE_KINDS,
};

/* The bounds, in bytes for the guest's lines and in lines for the other kinds. */
static const uint64_t bounds[LINE_KINDS] = {
    [LINE_TEXT] = TRANSCRIPT_TEXT,    [LINE_RESULT] = TRANSCRIPT_RESULTS,
    [LINE_ERROR] = TRANSCRIPT_ERRORS, [LINE_NOTE] = TRANSCRIPT_NOTES,
    [LINE_LIST] = UINT64_MAX,         [LINE_OURS] = UINT64_MAX,
    [LINE_LIVE] = TRANSCRIPT_TEXT, /* bounds only the text that is not printed yet */
};

/* Bytes for the last lines, so that a VM's result is kept even if no page is free. */
#define SPARE 1024u

struct transcript {
    struct spinlock lock;
    bool open, closed;
    struct text_page *first, *last;
    size_t read;        /* bytes of the first page that have been printed */
    uint64_t unprinted; /* bytes that have not been printed */
    uint64_t used[LINE_KINDS], cut[LINE_KINDS];
    bool in_line;      /* the last live byte did not end a line */
    uint64_t homeless; /* number of lines that were cut because no page was free */
    size_t spare_read, spare_used;
    char spare[SPARE];
};

static struct transcript transcripts[TRANSCRIPTS];
static unsigned turn = 1;
const uint64_t *transcript_unprinted = &transcripts[1].unprinted;
static struct spinlock printer; /* held while printing; taken by spin_trylock() only */

/* ---- Keeping --------------------------------------------------------------------------------- */

static bool transcript_page_add(struct transcript *t)
{
    hpa_t page = page_alloc(0);
    if (page_is_none(page))
        return false;
    struct text_page *fresh = phys_to_virt(page);
    fresh->next = NULL;
    fresh->used = 0;
    *(t->last ? &t->last->next : &t->first) = fresh;
    t->last = fresh;
    return true;
}

/* Adds the whole line to the pages and returns true, or adds nothing and returns false. It returns
 * false once the spare bytes are in use, because all later lines have to follow there. */
static bool transcript_put(struct transcript *t, const char *line, size_t size)
{
    size_t room = t->last ? sizeof(t->last->text) - t->last->used : 0;
    struct text_page *page = t->last;
    if (t->spare_used || (room < size && !transcript_page_add(t)))
        return false;
    if (room > size)
        room = size;
    if (room) {
        memcpy(page->text + page->used, line, room);
        page->used += room;
    }
    if (size > room) {
        memcpy(t->last->text, line + room, size - room);
        t->last->used = size - room;
    }
    return true;
}

static bool transcript_put_spare(struct transcript *t, const char *line, size_t size)
{
    if (size > SPARE - t->spare_used)
        return false;
    memcpy(t->spare + t->spare_used, line, size);
    t->spare_used += size;
    return true;
}

/* Returns true if `amount` more is within the bound of its kind, and charges it. A result is
 * charged to the bound of the text while that is not exhausted, and then to its own. */
static bool transcript_is_within(struct transcript *t, enum line_kind kind, uint64_t amount)
{
    if (kind == LINE_RESULT && t->used[LINE_TEXT] + amount <= bounds[LINE_TEXT])
        kind = LINE_TEXT;
    if (kind == LINE_LIVE)
        return t->unprinted + amount <= bounds[kind];
    if (t->used[kind] + amount > bounds[kind])
        return false;
    t->used[kind] += amount;
    return true;
}

static bool transcript_put_text(struct transcript *t, enum line_kind kind, const char *text,
                                size_t size)
{
    bool kept =
        transcript_put(t, text, size) || (kind == LINE_OURS && transcript_put_spare(t, text, size));
    if (kept)
        __atomic_store_n(&t->unprinted, t->unprinted + size, __ATOMIC_SEQ_CST);
    return kept;
}

/* Keeps a line, which ends with a newline and has no terminating zero, or a live byte. If its bound
 * is exceeded or no page is free, counts it as cut. */
static void transcript_keep(struct transcript *t, enum line_kind kind, const char *line,
                            size_t size)
{
    uint64_t amount = kind <= LINE_RESULT ? size : 1;
    spin_lock(&t->lock);
    if (t->in_line && kind != LINE_LIVE)
        t->in_line = !transcript_put_text(t, kind, "\n", 1);
    bool within = transcript_is_within(t, kind, amount);
    bool kept = within && transcript_put_text(t, kind, line, size);
    if (kept)
        t->in_line = line[size - 1] != '\n';
    else
        t->cut[kind]++;
    t->homeless += within && !kept;
    spin_unlock(&t->lock);
}

/* ---- Printing -------------------------------------------------------------------------------- */

static struct transcript *transcript_current(void)
{
    return &transcripts[__atomic_load_n(&turn, __ATOMIC_SEQ_CST)];
}

/* Copies the next piece of the text and returns its length. A piece ends at the end of a line,
 * because a screen may have to scroll before the next line. */
static size_t copy_piece(char piece[PIECE], const char *text, size_t size, size_t room)
{
    size_t length = 0;
    while (length < size && length < PIECE && length < room) {
        piece[length] = text[length];
        if (piece[length++] == '\n')
            break;
    }
    return length;
}

/* Frees the first page if it has been printed and nothing can be added to it any more. */
static void transcript_page_drop(struct transcript *t)
{
    struct text_page *page = t->first;
    if (t->read < page->used || (page == t->last && !t->closed && !t->spare_used))
        return;
    t->first = page->next;
    t->last = t->first ? t->last : NULL;
    t->read = 0;
    page_free(virt_to_phys(page), 0);
}

/* Returns the text that is to be printed next, its size, and in *read the counter to which the
 * characters that are printed have to be added. The caller holds the lock. */
static const char *transcript_unread(struct transcript *t, size_t *size, size_t **read)
{
    if (t->first)
        transcript_page_drop(t);
    bool paged = t->first && t->read < t->first->used;
    *read = paged ? &t->read : &t->spare_read;
    *size = (paged ? t->first->used : t->spare_used) - **read;
    return (paged ? t->first->text : t->spare) + **read;
}

/* Reads the next character to print. Returns false if there is none. */
static bool transcript_peek(struct transcript *t, char *next)
{
    size_t size, *read;
    spin_lock(&t->lock);
    const char *text = transcript_unread(t, &size, &read);
    *next = size ? *text : 0;
    spin_unlock(&t->lock);
    return size;
}

static size_t transcript_take_piece(struct transcript *t, char piece[PIECE], size_t room)
{
    size_t size, *read;
    spin_lock(&t->lock);
    const char *text = transcript_unread(t, &size, &read);
    size_t length = copy_piece(piece, text, size, room);
    *read += length;
    if (t->first)
        transcript_page_drop(t);
    __atomic_store_n(&t->unprinted, t->unprinted - length, __ATOMIC_SEQ_CST);
    spin_unlock(&t->lock);
    return length;
}

static bool transcript_is_over(const struct transcript *t)
{
    return __atomic_load_n(&t->closed, __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&t->unprinted, __ATOMIC_SEQ_CST);
}

bool transcript_waits(void)
{
    const struct transcript *t = transcript_current();
    return __atomic_load_n(&t->unprinted, __ATOMIC_SEQ_CST) ||
           (transcript_is_over(t) && t < &transcripts[TRANSCRIPTS - 1]);
}

/* Every line is printed eventually: a CPU that adds a line tries to take `printer` afterwards, and
 * a CPU that prints looks for further lines after it has released `printer`. */
bool transcript_print(void)
{
    char piece[PIECE], next;
    if (!spin_trylock(&printer))
        return false;
    struct transcript *t = transcript_current();
    size_t room = transcript_peek(t, &next) ? log_room(next) : 0;
    if (room)
        log_text(piece, transcript_take_piece(t, piece, room));
    while (turn < TRANSCRIPTS - 1 && transcript_is_over(transcript_current()))
        __atomic_store_n(&turn, turn + 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&transcript_unprinted, &transcripts[turn].unprinted, __ATOMIC_SEQ_CST);
    spin_unlock(&printer);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return transcript_waits();
}

bool transcript_is_current(const struct transcript *t)
{
    return t == transcript_current();
}

/* ---- Messages on behalf of a VM -------------------------------------------------------------- */

static struct speaker {
    struct transcript *transcript;
    const char *name;
    bool busy; /* the CPU may hold a transcript's lock, so an NMI's messages are printed at once */
} speakers[CPUS_MAX] __attribute__((aligned(64)));

void transcript_speak_for(struct transcript *transcript, const char *name)
{
    struct speaker *speaker = &speakers[this_cpu()];
    speaker->transcript = transcript;
    speaker->name = name;
}

/* An NMI handler that logs a message while this CPU holds the lock sees `busy` and does not wait
 * for the lock. */
static void transcript_add_text(struct transcript *t, enum line_kind kind, const char *text,
                                size_t size)
{
    struct speaker *speaker = &speakers[this_cpu()];
    bool was_busy = speaker->busy;
    speaker->busy = true;
    transcript_keep(t, kind, text, size);
    transcript_notify();
    speaker->busy = was_busy;
}

static void transcript_add(struct transcript *t, enum line_kind kind, char line[LOG_LINE_MAX])
{
    size_t length = strlen(line);
    line[length] = '\n';
    transcript_add_text(t, kind, line, length + 1);
}

/* Prepends `# NAME: ` to a message, unless the message has the name already, as in
 * `error: guest NAME: …` or `error: guest NAME, its module …`. */
static void transcript_name_line(char named[LOG_LINE_MAX], const char *line, const char *name)
{
    char start[48];
    const char *message = strchr(line, ' ');
    snprintf(start, sizeof(start), " guest %s", name);
    bool has_name = message && !strncmp(message, start, strlen(start)) &&
                    (message[strlen(start)] == ':' || message[strlen(start)] == ',');
    snprintf(named, LOG_LINE_MAX - 1, "%s%s%s%s", has_name ? "" : "# ", has_name ? "" : name,
             has_name ? "" : ": ", line);
}

/* Prints the rest of the transcript when the machine stops: the last messages about this VM may say
 * why. */
static void transcript_print_rest(struct transcript *t)
{
    char piece[PIECE];
    size_t length;
    if (t->lock.taken)
        return; /* the CPU that stops the machine may hold it */
    while ((length = transcript_take_piece(t, piece, PIECE)))
        log_text(piece, length);
}

static bool transcript_divert(enum log_level level, const char *line)
{
    const struct speaker *speaker = &speakers[this_cpu()];
    struct transcript *t = speaker->transcript;
    const char *name = speaker->name;
    char named[LOG_LINE_MAX];
    if (!t)
        t = transcript_running(&name);
    if (!t || speaker->busy)
        return false;
    if (!line) {
        transcript_print_rest(t);
        return true;
    }
    if (level == LOG_INFO || !name)
        snprintf(named, sizeof(named) - 1, "%s", line);
    else
        transcript_name_line(named, line, name);
    transcript_add(t, level == LOG_INFO ? LINE_NOTE : LINE_ERROR, named);
    return true;
}

void transcript_listen(void)
{
    log_divert(transcript_divert);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

struct transcript *transcript_open(unsigned number)
{
    BUG_ON(!number || number >= TRANSCRIPTS || transcripts[number].open);
    transcripts[number].open = true;
    return &transcripts[number];
}

static void transcript_format(struct transcript *t, enum line_kind kind, const char *format,
                              va_list arguments)
{
    char raw[LOG_LINE_MAX], line[LOG_LINE_MAX];
    vsnprintf(raw, sizeof(raw), format, arguments);
    visible_text(line, sizeof(line) - 1, raw);
    if (t)
        transcript_add(t, kind, line);
    else
        log_info("%s", line);
}

void transcript_line(struct transcript *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    transcript_format(t, LINE_OURS, format, arguments);
    va_end(arguments);
}

void transcript_list(struct transcript *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    transcript_format(t, LINE_LIST, format, arguments);
    va_end(arguments);
}

void transcript_guest(struct transcript *t, const char *text, bool result)
{
    char line[LOG_LINE_MAX];
    snprintf(line, sizeof(line) - 1, TRANSCRIPT_MARK "%s", text);
    if (t)
        transcript_add(t, result ? LINE_RESULT : LINE_TEXT, line);
    else
        log_info("%s", line);
}

void transcript_live(struct transcript *t, char byte)
{
    if (t)
        transcript_add_text(t, LINE_LIVE, &byte, 1);
}

void transcript_say_cut(struct transcript *t, const char *name)
{
    uint64_t lines = t->cut[LINE_TEXT] + t->cut[LINE_RESULT];
    uint64_t logged = t->cut[LINE_ERROR] + t->cut[LINE_NOTE];
    if (lines)
        transcript_line(t,
                        "# %s: %lu lines of the guest's were cut, %lu of them results: a VM may "
                        "print %u KiB, and %u KiB more of results",
                        name, lines, t->cut[LINE_RESULT], TRANSCRIPT_TEXT >> 10,
                        TRANSCRIPT_RESULTS >> 10);
    if (logged)
        transcript_line(t,
                        "# %s: %lu errors and %lu other lines about it were cut: %u and %u are "
                        "shown for each VM",
                        name, t->cut[LINE_ERROR], t->cut[LINE_NOTE], TRANSCRIPT_ERRORS,
                        TRANSCRIPT_NOTES);
    if (t->cut[LINE_LIVE])
        transcript_line(t,
                        "# %s: %lu bytes of the guest's were cut, which came faster than the "
                        "console prints",
                        name, t->cut[LINE_LIVE]);
    if (t->homeless)
        transcript_line(t, "# %s: %lu of these lines were cut because no page of memory was free",
                        name, t->homeless);
}

void transcript_close(struct transcript *t)
{
    spin_lock(&t->lock);
    __atomic_store_n(&t->closed, true, __ATOMIC_SEQ_CST);
    if (t->first)
        transcript_page_drop(t);
    spin_unlock(&t->lock);
    if (t == transcript_current()) /* makes the next transcript current, if nothing is left */
        (void)transcript_print();
}
