/* SPDX-License-Identifier: MIT */
/* Draws the bytes of its standard input as QR codes, for tests: `qr VERSION...` writes a picture
 * (PGM, three pixels for each module) to `VERSION.pgm` for each version, with as many of the bytes
 * as fit. */
#include "lib/qr.h"

#include <stdio.h>
#include <stdlib.h>

#define SCALE 3u

static void draw(const struct qr *qr, FILE *file)
{
    unsigned whole = (qr->size + 2 * QR_QUIET) * SCALE;
    fprintf(file, "P5\n%u %u\n255\n", whole, whole);
    for (unsigned y = 0; y < whole; y++)
        for (unsigned x = 0; x < whole; x++) {
            unsigned column = x / SCALE - QR_QUIET, row = y / SCALE - QR_QUIET;
            bool dark = column < qr->size && row < qr->size && qr_dark(qr, column, row);
            putc(dark ? 0 : 255, file);
        }
}

int main(int argc, char **argv)
{
    static struct qr qr;
    static char data[4096];
    size_t length = fread(data, 1, sizeof(data), stdin);
    for (int i = 1; i < argc; i++) {
        unsigned version = (unsigned)atoi(argv[i]);
        char name[32];
        snprintf(name, sizeof(name), "%u.pgm", version);
        FILE *file = fopen(name, "w");
        if (!file)
            return 1;
        qr_encode(&qr, version, data,
                  length < qr_capacity(version) ? length : qr_capacity(version));
        draw(&qr, file);
        fclose(file);
    }
    return 0;
}
