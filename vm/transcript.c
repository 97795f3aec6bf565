/* SPDX-License-Identifier: MIT */
/* See the header. Pure. */
#include "vm/transcript.h"

#include "lib/cpu_local.h"
#include "lib/assert.h"
#include "lib/page.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "lib/trace.h"
#include "lib/visible.h"

/* Characters that are printed at a time. In Bochs one takes about 300 instructions, and the one
 * with which the screen scrolls up to 20,000. */
#define PIECE 6u

struct text_page {
    struct text_page *next;
    size_t used;
    char text[PAGE_SIZE - 2 * sizeof(uint64_t)]; /* lines, each with its newline */
};

/* What a line is, for what is kept when there is too much. */
enum line_kind {
    LINE_TEXT,   /* the guest's */
    LINE_RESULT, /* the guest's, of KTAP */
    LINE_ERROR,  /* logged on behalf of the VM */
    LINE_NOTE,
    LINE_LIST, /* ours, and bounded by what it lists */
    LINE_OURS, /* ours, and always kept */
    LINE_LIVE, /* no line, but a byte of a guest that is shown as it comes */
    LINE_KINDS,
};

/* The bounds: bytes of the guest's lines, numbers of what is logged. */
static const uint64_t bounds[LINE_KINDS] = {
    [LINE_TEXT] = TRANSCRIPT_TEXT,    [LINE_RESULT] = TRANSCRIPT_RESULTS,
    [LINE_ERROR] = TRANSCRIPT_ERRORS, [LINE_NOTE] = TRANSCRIPT_NOTES,
    [LINE_LIST] = UINT64_MAX,         [LINE_OURS] = UINT64_MAX,
    [LINE_LIVE] = TRANSCRIPT_TEXT, /* of what is not printed yet */
};

/* The last lines need no page: a VM's result is not lost for want of one. */
#define SPARE 1024u

struct transcript {
    struct spinlock lock;
    bool open, closed;
    struct text_page *first, *last;
    size_t read;        /* of the first page, what is printed */
    uint64_t unprinted; /* bytes */
    uint64_t used[LINE_KINDS], cut[LINE_KINDS];
    bool in_line;      /* the last live byte did not end a line */
    uint64_t homeless; /* lines that were cut because no page was free */
    size_t spare_read, spare_used;
    char spare[SPARE];
};

static struct transcript transcripts[TRANSCRIPTS];
static unsigned turn = 1;
const uint64_t *transcript_unprinted = &transcripts[1].unprinted;
static struct spinlock printer; /* whoever prints; never waited for */

/* ---- Keeping --------------------------------------------------------------------------------- */

static bool add_page(struct transcript *t)
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

/* All of it, or nothing. */
static bool put(struct transcript *t, const char *line, size_t size)
{
    size_t room = t->last ? sizeof(t->last->text) - t->last->used : 0;
    struct text_page *page = t->last;
    if (t->spare_used || (room < size && !add_page(t))) /* what follows the spare is there, too */
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

static bool put_spare(struct transcript *t, const char *line, size_t size)
{
    if (size > SPARE - t->spare_used)
        return false;
    memcpy(t->spare + t->spare_used, line, size);
    t->spare_used += size;
    return true;
}

/* Results first take what text has left. */
static bool is_within(struct transcript *t, enum line_kind kind, uint64_t amount)
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

static bool put_text(struct transcript *t, enum line_kind kind, const char *text, size_t size)
{
    bool kept = put(t, text, size) || (kind == LINE_OURS && put_spare(t, text, size));
    if (kept)
        __atomic_store_n(&t->unprinted, t->unprinted + size, __ATOMIC_SEQ_CST);
    return kept;
}

/* A line has its newline, and no terminating zero. */
static void keep(struct transcript *t, enum line_kind kind, const char *line, size_t size)
{
    uint64_t amount = kind <= LINE_RESULT ? size : 1;
    spin_lock(&t->lock);
    if (t->in_line && kind != LINE_LIVE)
        t->in_line = !put_text(t, kind, "\n", 1);
    bool within = is_within(t, kind, amount), kept = within && put_text(t, kind, line, size);
    if (kept)
        t->in_line = line[size - 1] != '\n';
    else
        t->cut[kind]++;
    t->homeless += within && !kept;
    spin_unlock(&t->lock);
}

/* ---- Printing -------------------------------------------------------------------------------- */

static struct transcript *current(void)
{
    return &transcripts[__atomic_load_n(&turn, __ATOMIC_SEQ_CST)];
}

/* A piece ends with its line, and of the next one it is the first character alone, with which a
 * screen scrolls: that is enough at a time. */
static size_t copy_piece(char piece[PIECE], const char *text, size_t size, bool scrolls)
{
    size_t length = 0, most = scrolls ? 1 : PIECE;
    while (length < size && length < most) {
        piece[length] = text[length];
        if (piece[length++] == '\n')
            break;
    }
    return length;
}

/* Frees the first page when it is read, unless more may come into it. */
static void drop_page(struct transcript *t)
{
    struct text_page *page = t->first;
    if (t->read < page->used || (page == t->last && !t->closed && !t->spare_used))
        return;
    t->first = page->next;
    t->last = t->first ? t->last : NULL;
    t->read = 0;
    page_free(virt_to_phys(page), 0);
}

static bool line_ended; /* what was printed last ended with its line; the printer's */

static size_t take_piece(struct transcript *t, char piece[PIECE])
{
    size_t length = 0;
    spin_lock(&t->lock);
    if (t->first) {
        length = copy_piece(piece, t->first->text + t->read, t->first->used - t->read, line_ended);
        t->read += length;
        drop_page(t);
    }
    if (!length && !t->first) {
        length =
            copy_piece(piece, t->spare + t->spare_read, t->spare_used - t->spare_read, line_ended);
        t->spare_read += length;
    }
    __atomic_store_n(&t->unprinted, t->unprinted - length, __ATOMIC_SEQ_CST);
    spin_unlock(&t->lock);
    if (length)
        line_ended = piece[length - 1] == '\n';
    return length;
}

static bool is_over(const struct transcript *t)
{
    return __atomic_load_n(&t->closed, __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&t->unprinted, __ATOMIC_SEQ_CST);
}

bool transcript_waits(void)
{
    const struct transcript *t = current();
    return __atomic_load_n(&t->unprinted, __ATOMIC_SEQ_CST) ||
           (is_over(t) && t < &transcripts[TRANSCRIPTS - 1]);
}

/* Who keeps a line looks for the printer afterwards, and the printer, when it has given up being
 * that, for lines: one of the two sees the other. */
bool transcript_print(void)
{
    char piece[PIECE];
    if (!spin_trylock(&printer))
        return false;
    struct transcript *t = current();
    size_t length = take_piece(t, piece);
    if (length)
        log_text(piece, length);
    while (turn < TRANSCRIPTS - 1 && is_over(current()))
        __atomic_store_n(&turn, turn + 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&transcript_unprinted, &transcripts[turn].unprinted, __ATOMIC_SEQ_CST);
    spin_unlock(&printer);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return transcript_waits();
}

bool transcript_is_current(const struct transcript *t)
{
    return t == current();
}

/* ---- Speaking for a VM ----------------------------------------------------------------------- */

static struct speaker {
    struct transcript *transcript;
    const char *name;
    bool busy; /* it holds the lock, so what an NMI has to say is printed */
} speakers[CPUS_MAX] __attribute__((aligned(64)));

void transcript_speak_for(struct transcript *transcript, const char *name)
{
    struct speaker *speaker = &speakers[this_cpu()];
    speaker->transcript = transcript;
    speaker->name = name;
}

/* An NMI that comes meanwhile must not ask for the lock that we hold: `busy`. */
static void add_text(struct transcript *t, enum line_kind kind, const char *text, size_t size)
{
    struct speaker *speaker = &speakers[this_cpu()];
    bool was_busy = speaker->busy;
    speaker->busy = true;
    keep(t, kind, text, size);
    transcript_has_news();
    speaker->busy = was_busy;
}

static void add(struct transcript *t, enum line_kind kind, char line[LOG_LINE_MAX])
{
    size_t length = strlen(line);
    line[length] = '\n';
    add_text(t, kind, line, length + 1);
}

/* `# NAME: error: …`, unless the sentence begins with the name anyway: `error: guest NAME: …`. */
static void name_line(char named[LOG_LINE_MAX], const char *line, const char *name)
{
    char who[48];
    const char *sentence = strchr(line, ' ');
    snprintf(who, sizeof(who), " guest %s:", name);
    bool is_there = sentence && !strncmp(sentence, who, strlen(who));
    snprintf(named, LOG_LINE_MAX - 1, "%s%s%s%s", is_there ? "" : "# ", is_there ? "" : name,
             is_there ? "" : ": ", line);
}

/* The machine stops: what has been said of this VM last may say why. */
static void print_rest(struct transcript *t)
{
    char piece[PIECE];
    size_t length;
    if (t->lock.taken)
        return; /* by whom it stops, perhaps */
    while ((length = take_piece(t, piece)))
        log_text(piece, length);
}

static bool divert(enum log_level level, const char *line)
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
        print_rest(t);
        return true;
    }
    if (level == LOG_INFO || !name)
        snprintf(named, sizeof(named) - 1, "%s", line);
    else
        name_line(named, line, name);
    add(t, level == LOG_INFO ? LINE_NOTE : LINE_ERROR, named);
    return true;
}

void transcript_listen(void)
{
    log_divert(divert);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

struct transcript *transcript_open(unsigned number)
{
    BUG_ON(!number || number >= TRANSCRIPTS || transcripts[number].open);
    transcripts[number].open = true;
    return &transcripts[number];
}

static void format_line(struct transcript *t, enum line_kind kind, const char *format,
                        va_list arguments)
{
    char raw[LOG_LINE_MAX], line[LOG_LINE_MAX];
    vsnprintf(raw, sizeof(raw), format, arguments);
    visible_text(line, sizeof(line) - 1, raw);
    if (t)
        add(t, kind, line);
    else
        log_info("%s", line);
}

void transcript_line(struct transcript *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    format_line(t, LINE_OURS, format, arguments);
    va_end(arguments);
}

void transcript_list(struct transcript *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    format_line(t, LINE_LIST, format, arguments);
    va_end(arguments);
}

void transcript_guest(struct transcript *t, const char *text, bool result)
{
    char line[LOG_LINE_MAX];
    snprintf(line, sizeof(line) - 1, TRANSCRIPT_MARK "%s", text);
    if (t)
        add(t, result ? LINE_RESULT : LINE_TEXT, line);
    else
        log_info("%s", line);
}

void transcript_live(struct transcript *t, char byte)
{
    if (t)
        add_text(t, LINE_LIVE, &byte, 1);
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
        drop_page(t);
    spin_unlock(&t->lock);
    if (t == current()) /* the next one's turn, whoever prints what is left */
        (void)transcript_print();
}
