/* SPDX-License-Identifier: MIT */
/* Page by page; see the header. Pure. */
#include "arch/x86/pager.h"

#include "lib/string.h"

void pager_begin(struct pager *pager, struct terminal *terminal, void (*wait)(void))
{
    *pager = (struct pager){.terminal = terminal, .wait = wait, .page = 1};
    terminal_clear(terminal);
}

static void pager_prompt(struct pager *pager)
{
    /* It has one row. */
    char prompt[80];
    size_t columns = pager->terminal->columns;
    size_t length =
        (size_t)snprintf(prompt, sizeof(prompt), "-- more -- (page %u; press a key)", pager->page);
    if (length > columns)
        length = (size_t)snprintf(prompt, sizeof(prompt), "-- more %u --", pager->page);
    terminal_write(pager->terminal, prompt, length < columns ? length : columns);
    pager->wait();
    terminal_clear(pager->terminal);
    pager->page++;
    pager->rows = 0;
}

static void pager_put_line(struct pager *pager)
{
    unsigned rows = terminal_rows_of(pager->terminal, pager->length);
    if (pager->rows && pager->rows + rows > pager->terminal->rows - 1)
        pager_prompt(pager);
    pager->line[pager->length] = '\n';
    terminal_write(pager->terminal, pager->line, pager->length + 1);
    pager->rows += rows;
    pager->length = 0;
}

void pager_write(struct pager *pager, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n' || pager->length == PAGER_LINE)
            pager_put_line(pager);
        if (text[i] != '\n')
            pager->line[pager->length++] = text[i];
    }
}

void pager_end(struct pager *pager)
{
    if (pager->length)
        pager_put_line(pager);
}
