/* SPDX-License-Identifier: MIT */
/*
 * SHA-384, HMAC-SHA-384 and SHA-256 against Python's implementation: every length up to 299 bytes
 * and longer messages, each in one piece and, for SHA-384, in pieces; every length of a key, NIST's
 * Monte Carlo chain, and a message of a million bytes.
 */
#include "tests/unit/support.h"

#include "lib/bits.h"
#include "lib/sha256.h"
#include "lib/sha384.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 8192

static size_t bytes_of(const char *hex, uint8_t *bytes)
{
    size_t size = hex[0] == '-' ? 0 : strlen(hex) / 2;

    for (size_t i = 0; i < size; i++)
        assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &bytes[i]), 1);
    return size;
}

/* The message in pieces of random sizes, each from memory of exactly this size, so that ASan sees
 * what is read beyond it, and at any alignment. */
static void hash_in_pieces(const uint8_t *message, size_t size, uint8_t *digest)
{
    struct sha384 sha;

    sha384_init(&sha);
    for (size_t done = 0, part; done < size; done += part) {
        part = 1 + (size_t)rand() % (rand() % 2 ? 20 : 400);
        part = part < size - done ? part : size - done;
        uint8_t *piece = malloc(part);
        memcpy(piece, message + done, part);
        sha384_update(&sha, piece, part);
        sha384_update(&sha, piece, 0);
        free(piece);
    }
    sha384_final(&sha, digest);
}

static void check_hash(const char *message_hex, const char *digest_hex)
{
    static uint8_t message[MESSAGE_MAX];
    uint8_t expected[SHA384_SIZE], digest[SHA384_SIZE];
    size_t size = bytes_of(message_hex, message);

    assert_int_equal(bytes_of(digest_hex, expected), SHA384_SIZE);
    sha384(message, size, digest);
    assert_memory_equal(digest, expected, SHA384_SIZE);
    for (unsigned i = 0; i < 10; i++) {
        memset(digest, 0, sizeof(digest));
        hash_in_pieces(message, size, digest);
        assert_memory_equal(digest, expected, SHA384_SIZE);
    }
}

static void check_sha256(const char *message_hex, const char *digest_hex)
{
    static uint8_t message[MESSAGE_MAX];
    uint8_t expected[SHA256_SIZE], digest[SHA256_SIZE];
    size_t size = bytes_of(message_hex, message);
    uint8_t *copy = malloc(size + 1);

    memcpy(copy + 1, message, size); /* ends where the allocation ends, at any alignment */
    assert_int_equal(bytes_of(digest_hex, expected), SHA256_SIZE);
    sha256(copy + 1, size, digest);
    assert_memory_equal(digest, expected, SHA256_SIZE);
    free(copy);
}

/* A key is used for two messages, because nothing of the first may be left in it. */
static void check_hmac(const char *key_hex, const char *message_hex, const char *digest_hex)
{
    static uint8_t message[MESSAGE_MAX];
    uint8_t key_bytes[SHA384_BLOCK], expected[SHA384_SIZE], digest[SHA384_SIZE];
    size_t key_size = bytes_of(key_hex, key_bytes), size = bytes_of(message_hex, message);
    struct sha384_hmac key;

    assert_int_equal(bytes_of(digest_hex, expected), SHA384_SIZE);
    sha384_hmac_init(&key, key_bytes, key_size);
    for (unsigned i = 0; i < 2; i++) {
        memset(digest, 0, sizeof(digest));
        sha384_hmac(&key, message, size, digest);
        assert_memory_equal(digest, expected, SHA384_SIZE);
    }
}

static void check_chain(const char *seed_hex, const char *rounds, const char *digest_hex)
{
    uint8_t last[3][SHA384_SIZE], expected[SHA384_SIZE], digest[SHA384_SIZE];

    bytes_of(seed_hex, last[0]);
    bytes_of(digest_hex, expected);
    memcpy(last[1], last[0], sizeof(last[0]));
    memcpy(last[2], last[0], sizeof(last[0]));
    for (int i = atoi(rounds); i; i--) {
        sha384(last, sizeof(last), digest);
        memmove(last[0], last[1], 2 * SHA384_SIZE);
        memcpy(last[2], digest, SHA384_SIZE);
    }
    assert_memory_equal(digest, expected, SHA384_SIZE);
}

static void as_python_does(void **state)
{
    (void)state;
    static char line[4 * MESSAGE_MAX];
    unsigned hashes = 0, sha256s = 0, hmacs = 0, chains = 0;
    FILE *vectors = popen("exec python3 tests/unit/lib/sha2_vectors.py", "r");

    assert_non_null(vectors);
    while (fgets(line, sizeof(line), vectors)) {
        const char *part[4] = {NULL};
        unsigned parts = 0;
        for (char *p = strtok(line, " \n"); p && parts < 4; p = strtok(NULL, " \n"))
            part[parts++] = p;
        if (!strcmp(part[0], "hash") && ++hashes)
            check_hash(part[1], part[2]);
        else if (!strcmp(part[0], "sha256") && ++sha256s)
            check_sha256(part[1], part[2]);
        else if (!strcmp(part[0], "hmac") && ++hmacs)
            check_hmac(part[1], part[2], part[3]);
        else if (!strcmp(part[0], "chain") && ++chains)
            check_chain(part[1], part[2], part[3]);
        else
            fail_msg("%s", part[0]);
    }
    assert_int_equal(pclose(vectors), 0);
    assert_int_equal(hashes, 351);
    assert_int_equal(sha256s, hashes);
    assert_int_equal(hmacs, SHA384_BLOCK + 1);
    assert_int_equal(chains, 5);
}

/* FIPS 180-2, D.3. */
static void a_million_letters(void **state)
{
    (void)state;
    static char letters[1000];
    uint8_t digest[SHA384_SIZE], expected[SHA384_SIZE];
    struct sha384 sha;

    memset(letters, 'a', sizeof(letters));
    sha384_init(&sha);
    for (unsigned i = 0; i < 1000; i++)
        sha384_update(&sha, letters, sizeof(letters));
    sha384_final(&sha, digest);
    bytes_of("9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b"
             "07b8b3dc38ecc4ebae97ddd87f3d8985",
             expected);
    assert_memory_equal(digest, expected, SHA384_SIZE);
}

/* A digest in the making can be copied, and both continued. */
static void a_copy_continues(void **state)
{
    (void)state;
    uint8_t digest[SHA384_SIZE], expected[SHA384_SIZE];
    struct sha384 sha, copy;

    sha384_init(&sha);
    sha384_update(&sha, "eptv", 4);
    copy = sha;
    sha384_update(&sha, "nothing", 7);
    sha384_update(&copy, "isor", 4);
    sha384_final(&copy, digest);
    sha384("eptvisor", 8, expected);
    assert_memory_equal(digest, expected, SHA384_SIZE);
}

static void too_long_a_key(void **state)
{
    (void)state;
    static const uint8_t bytes[SHA384_BLOCK + 1];
    struct sha384_hmac key;

    expect_assert_failure(sha384_hmac_init(&key, bytes, sizeof(bytes)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_python_does),
        cmocka_unit_test(a_million_letters),
        cmocka_unit_test(a_copy_continues),
        cmocka_unit_test(too_long_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
