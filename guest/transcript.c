/* See the header. Pure. */
#include "guest/transcript.h"

#include "lib/assert.h"
#include "lib/page.h"
#include "lib/spinlock.h"
#include "lib/string.h"

#define PAGES_MAX 64u /* that one transcript keeps */

struct text_page {
    struct text_page *next;
    size_t used;
    char text[PAGE_SIZE - 2 * sizeof(uint64_t)]; /* lines, each with its terminating zero */
};

struct transcript {
    bool open, closed;
    struct text_page *first, *last;
    unsigned pages, lost;
};

static struct transcript transcripts[TRANSCRIPTS];
static unsigned turn = 1;
static struct spinlock lock; /* of all this */

static struct text_page *add_page(struct transcript *t)
{
    hpa_t page = t->pages < PAGES_MAX ? page_alloc(0) : PAGE_NONE;
    if (page_is_none(page))
        return NULL;
    struct text_page *fresh = phys_to_virt(page);
    fresh->next = NULL;
    fresh->used = 0;
    *(t->last ? &t->last->next : &t->first) = fresh;
    t->last = fresh;
    t->pages++;
    return fresh;
}

static void keep(struct transcript *t, const char *line, size_t size)
{
    struct text_page *page = t->lost ? NULL : t->last; /* after a loss no more */
    if (!t->lost && (!page || size > sizeof(page->text) - page->used))
        page = add_page(t);
    if (!page) {
        t->lost++;
        return;
    }
    memcpy(page->text + page->used, line, size);
    page->used += size;
}

/* Prints what was kept, and forgets it. */
static void print(struct transcript *t)
{
    for (struct text_page *page = t->first; page;) {
        struct text_page *next = page->next;
        for (size_t at = 0; at < page->used; at += strlen(page->text + at) + 1)
            log_info("%s", page->text + at);
        page_free(virt_to_phys(page), 0);
        page = next;
    }
    if (t->lost)
        log_warn("%u lines were lost here: no memory was left to keep them", t->lost);
    t->first = t->last = NULL;
    t->pages = t->lost = 0;
}

struct transcript *transcript_open(unsigned number)
{
    BUG_ON(!number || number >= TRANSCRIPTS || transcripts[number].open);
    transcripts[number].open = true;
    return &transcripts[number];
}

void transcript_line(struct transcript *t, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);

    spin_lock(&lock);
    if (!t || t == &transcripts[turn])
        log_info("%s", line);
    else
        keep(t, line, strlen(line) + 1);
    spin_unlock(&lock);
}

void transcript_close(struct transcript *t)
{
    spin_lock(&lock);
    t->closed = true;
    while (turn < TRANSCRIPTS - 1 && transcripts[turn].closed) {
        turn++;
        print(&transcripts[turn]);
    }
    spin_unlock(&lock);
}
