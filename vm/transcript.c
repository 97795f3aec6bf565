/* SPDX-License-Identifier: MIT */
#include "vm/transcript.h"

#include "lib/cpu_local.h"
#include "lib/assert.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "lib/trace.h"
#include "lib/visible.h"
#include "vm/text.h"

/* The most characters that are printed at a time. In Bochs a character takes about 300
 * instructions. If a screen has to scroll first, it scrolls in separate pieces (log_room()). */
#define PIECE 6u

/* The kinds of lines, which have different bounds. */
enum line_kind {
    LINE_TEXT,   /* a line of the guest */
    LINE_RESULT, /* a line of the guest that is a KTAP result */
    LINE_ERROR,  /* an error or warning that was logged on behalf of the VM */
    LINE_NOTE,   /* another message that was logged on behalf of the VM */
    LINE_LIST,   /* a line of the hypervisor from transcript_list() */
    LINE_OURS,   /* another line of the hypervisor, which is always kept */
    LINE_LIVE,   /* not a line but a byte of the guest, from transcript_live() */
    LINE_ECHO,   /* not a line but what transcript_echo() adds to the console's own transcript */
    LINE_KINDS,
};

/* The bounds, in bytes for the guest's lines and in lines for the other kinds. */
static const uint64_t bounds[LINE_KINDS] = {
    [LINE_TEXT] = TRANSCRIPT_TEXT,    [LINE_RESULT] = TRANSCRIPT_RESULTS,
    [LINE_ERROR] = TRANSCRIPT_ERRORS, [LINE_NOTE] = TRANSCRIPT_NOTES,
    [LINE_LIST] = UINT64_MAX,         [LINE_OURS] = UINT64_MAX,
    [LINE_LIVE] = TRANSCRIPT_TEXT, /* bounds only the text that is not printed yet */
    [LINE_ECHO] = UINT64_MAX,
};

struct transcript {
    struct spinlock lock;
    bool open, closed;
    struct text unprinted; /* lines, each with its newline, and live bytes */
    uint64_t used[LINE_KINDS], cut[LINE_KINDS];
    bool in_line;      /* the last live byte did not end a line */
    uint64_t homeless; /* number of lines that were cut because no page was free */
    char name[40];     /* of the VM */
};

/* The first transcript is the console's own, and is printed before all others. No VM pays for pages
 * for it. */
static struct transcript transcripts[TRANSCRIPTS];
static struct transcript *const notices = &transcripts[0];
const uint64_t *const transcript_notices = &transcripts[0].unprinted.size;

/* Guarded by notices->lock: the number of the transcript that is to become current, + 1, or 0; and
 * of the one that was current before the console showed its own transcript only. */
static unsigned wanted, left;

static struct spinlock printer; /* held while printing; taken by spin_trylock() only */
static unsigned turn = 1;       /* the current transcript; written by the printer */
const uint64_t *transcript_unprinted = &transcripts[1].unprinted.size;
static const struct transcript *printed_last; /* used by the printer only, as is: */
static bool in_printed_line;                  /* the last character printed was not a newline */

/* ---- Keeping --------------------------------------------------------------------------------- */

/* Returns true if `amount` more is within the bound of its kind, and charges it. A result is
 * charged to the bound of the text while that is not exhausted, and then to its own. */
static bool transcript_is_within(struct transcript *t, enum line_kind kind, uint64_t amount)
{
    if (kind == LINE_RESULT && t->used[LINE_TEXT] + amount <= bounds[LINE_TEXT])
        kind = LINE_TEXT;
    if (kind == LINE_LIVE)
        return text_size(&t->unprinted) + amount <= bounds[kind];
    if (t->used[kind] + amount > bounds[kind])
        return false;
    t->used[kind] += amount;
    return true;
}

/* Keeps a line, which ends with a newline and has no terminating zero, or live bytes. If its bound
 * is exceeded or no page is free, counts it as cut, unless it is the caller's to try again, and
 * returns false. */
static bool transcript_keep(struct transcript *t, enum line_kind kind, const char *line,
                            size_t size)
{
    uint64_t amount = kind <= LINE_RESULT ? size : 1;
    bool spare = kind == LINE_OURS || kind == LINE_ECHO;
    spin_lock(&t->lock);
    if (t->in_line && kind != LINE_LIVE && kind != LINE_ECHO)
        t->in_line = !text_put(&t->unprinted, "\n", 1, spare);
    bool within = transcript_is_within(t, kind, amount);
    bool kept = within && text_put(&t->unprinted, line, size, spare);
    if (kept)
        t->in_line = line[size - 1] != '\n';
    else
        t->cut[kind]++;
    t->homeless += within && !kept;
    spin_unlock(&t->lock);
    return kept;
}

/* ---- Printing -------------------------------------------------------------------------------- */

static struct transcript *transcript_current(void)
{
    return &transcripts[__atomic_load_n(&turn, __ATOMIC_SEQ_CST)];
}

/* Copies the next piece of the text and returns its length. A piece ends at the end of a line,
 * because a screen may have to scroll before the next line. */
static size_t transcript_copy_piece(char piece[PIECE], const char *text, size_t size, size_t room)
{
    size_t length = 0;
    while (length < size && length < PIECE && length < room) {
        piece[length] = text[length];
        if (piece[length++] == '\n')
            break;
    }
    return length;
}

/* Reads the next character to print. Returns false if there is none. */
static bool transcript_peek(struct transcript *t, char *next)
{
    size_t size;
    spin_lock(&t->lock);
    const char *text = text_peek(&t->unprinted, &size);
    *next = size ? *text : 0;
    spin_unlock(&t->lock);
    return size;
}

static size_t transcript_take_piece(struct transcript *t, char piece[PIECE], size_t room)
{
    size_t size;
    spin_lock(&t->lock);
    const char *text = text_peek(&t->unprinted, &size);
    size_t length = transcript_copy_piece(piece, text, size, room);
    text_take(&t->unprinted, length);
    spin_unlock(&t->lock);
    return length;
}

static bool transcript_is_over(const struct transcript *t)
{
    return __atomic_load_n(&t->closed, __ATOMIC_ACQUIRE) && !text_size(&t->unprinted);
}

static bool is_open(const struct transcript *t)
{
    return t == notices || __atomic_load_n(&t->open, __ATOMIC_ACQUIRE);
}

/* Returns the number of the first transcript that is not over. */
static unsigned transcript_first(void)
{
    unsigned number = 1;
    while (number < TRANSCRIPTS - 1 && transcript_is_over(&transcripts[number]))
        number++;
    return number;
}

/* Can another transcript become current? It can instead of one that is over, and one that has been
 * opened again can instead of one that has never been opened. */
static bool transcript_yields(const struct transcript *t)
{
    return (transcript_is_over(t) || !is_open(t)) && t != &transcripts[transcript_first()];
}

bool transcript_waits(void)
{
    const struct transcript *t = transcript_current();
    return text_size(&notices->unprinted) || __atomic_load_n(&wanted, __ATOMIC_SEQ_CST) ||
           text_size(&t->unprinted) || transcript_yields(t);
}

/* Prints a piece of a transcript. If the console shows an unfinished line of another one, the piece
 * is the newline that ends it. */
static void transcript_print_piece(struct transcript *t)
{
    char piece[PIECE] = "\n", next;
    size_t length = 1;
    if (!transcript_peek(t, &next))
        return;
    bool ends_line = in_printed_line && t != printed_last;
    size_t room = log_room(ends_line ? '\n' : next);
    if (!room)
        return;
    if (!ends_line) {
        length = transcript_take_piece(t, piece, room);
        printed_last = t;
    }
    log_text(piece, length);
    in_printed_line = piece[length - 1] != '\n';
}

/* Writes the notice that says whose transcript becomes the current one, and returns its length. */
static int transcript_title(char line[LOG_LINE_MAX], unsigned number)
{
    return snprintf(line, LOG_LINE_MAX, "# console: VM %u %s\n", number, transcripts[number].name);
}

/* The notice and the choice become visible together, so no other transcript is printed between
 * them. The caller holds notices->lock. */
static void transcript_choose(unsigned number)
{
    char line[LOG_LINE_MAX];
    int length = transcript_title(line, number);
    if (notices->in_line)
        notices->in_line = !text_put(&notices->unprinted, "\n", 1, true);
    if (number && transcripts[number].name[0])
        (void)text_put(&notices->unprinted, line, (size_t)length, true);
    __atomic_store_n(&wanted, number + 1, __ATOMIC_SEQ_CST);
}

void transcript_show(unsigned number)
{
    BUG_ON(!number || number >= TRANSCRIPTS);
    spin_lock(&notices->lock);
    transcript_choose(number);
    spin_unlock(&notices->lock);
}

/* Makes the transcript current that transcript_show() has chosen, whose notice is printed before
 * it, or, if the current one is over, the first one that is not. */
static void transcript_advance(void)
{
    spin_lock(&notices->lock);
    unsigned next = wanted;
    if (next)
        __atomic_store_n(&wanted, 0, __ATOMIC_SEQ_CST);
    spin_unlock(&notices->lock);
    if (next)
        __atomic_store_n(&turn, next - 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&wanted, __ATOMIC_SEQ_CST) && transcript_yields(transcript_current())) {
        next = transcript_first();
        if (next < turn) /* it was left before its end */
            transcript_show(next);
        else
            __atomic_store_n(&turn, next, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&transcript_unprinted, &transcripts[turn].unprinted.size, __ATOMIC_SEQ_CST);
}

/* Every line is printed eventually: a CPU that adds a line tries to take `printer` afterwards, and
 * a CPU that prints looks for further lines after it has released `printer`. */
bool transcript_print(void)
{
    if (!spin_trylock(&printer))
        return false;
    transcript_print_piece(text_size(&notices->unprinted) ? notices : transcript_current());
    transcript_advance();
    spin_unlock(&printer);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return transcript_waits();
}

/* The console's own transcript is never over, so while it is the current one, no other is. The
 * choice takes effect when something is printed next, of which there may be nothing. */
void transcript_show_console(bool only)
{
    spin_lock(&notices->lock);
    unsigned now = wanted ? wanted - 1 : __atomic_load_n(&turn, __ATOMIC_SEQ_CST);
    if (only && now) {
        left = now;
        transcript_choose(0);
    } else if (!only && !now) {
        transcript_choose(transcript_is_over(&transcripts[left]) ? transcript_first() : left);
    }
    spin_unlock(&notices->lock);
    (void)transcript_print();
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
static bool transcript_add_text(struct transcript *t, enum line_kind kind, const char *text,
                                size_t size)
{
    struct speaker *speaker = &speakers[this_cpu()];
    bool was_busy = speaker->busy;
    speaker->busy = true;
    bool kept = transcript_keep(t, kind, text, size);
    transcript_notify();
    speaker->busy = was_busy;
    return kept;
}

static void transcript_add(struct transcript *t, enum line_kind kind, char line[LOG_LINE_MAX])
{
    size_t length = strlen(line);
    line[length] = '\n';
    (void)transcript_add_text(t, kind, line, length + 1);
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

/* What was cut in a former run has been said then. Text of it that is still to be printed counts
 * for the bounds of this one. */
struct transcript *transcript_open(unsigned number)
{
    struct transcript *t = &transcripts[number];
    bool again = is_open(t);
    BUG_ON(!number || number >= TRANSCRIPTS || (again && !t->closed));
    spin_lock(&t->lock);
    memset(t->cut, 0, sizeof(t->cut));
    if (!text_size(&t->unprinted))
        memset(t->used, 0, sizeof(t->used));
    t->homeless = 0;
    t->unprinted.pages = true;
    t->unprinted.complete = false;
    __atomic_store_n(&t->closed, false, __ATOMIC_SEQ_CST);
    __atomic_store_n(&t->open, true, __ATOMIC_SEQ_CST);
    spin_unlock(&t->lock);
    if (again) /* it becomes the current one, if all others have been printed */
        (void)transcript_print();
    return t;
}

struct transcript *transcript_console(void)
{
    return notices;
}

void transcript_set_name(struct transcript *t, const char *name)
{
    visible_text(t->name, sizeof(t->name), name);
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
        (void)transcript_add_text(t, LINE_LIVE, &byte, 1);
}

bool transcript_echo(const char *bytes, size_t size)
{
    return transcript_add_text(notices, LINE_ECHO, bytes, size);
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
    text_complete(&t->unprinted);
    spin_unlock(&t->lock);
    if (t == transcript_current()) /* makes the next transcript current, if nothing is left */
        (void)transcript_print();
}
