#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Messages and what Python's hashlib and hmac say about them, for test_sha2.c: lines of `hash
MESSAGE DIGEST`, `sha256 MESSAGE DIGEST`, `hmac KEY MESSAGE DIGEST` and `chain SEED ROUNDS DIGEST`,
with `-` for no bytes."""

import hashlib
import hmac
import random

CHAIN_ROUNDS = 1000


def sha384(message: bytes) -> bytes:
    return hashlib.sha384(message).digest()


def text(message: bytes) -> str:
    return message.hex() or "-"


def chain(seed: bytes) -> bytes:
    """A round of the Monte Carlo test of NIST's Secure Hash Algorithm Validation System: each
    digest is that of the three before it."""
    digests = [seed] * 3
    for _ in range(CHAIN_ROUNDS):
        digests = [*digests[1:], sha384(b"".join(digests))]
    return digests[-1]


def main() -> None:
    rng = random.Random(384)
    lengths = [*range(300), *(rng.randrange(300, 5000) for _ in range(50))]
    for message in (b"abc", *(rng.randbytes(length) for length in lengths)):
        print("hash", text(message), text(sha384(message)))
        print("sha256", text(message), hashlib.sha256(message).hexdigest())
    for key_size in range(129):
        key, message = rng.randbytes(key_size), rng.randbytes(rng.randrange(600))
        print("hmac", text(key), text(message), text(hmac.digest(key, message, "sha384")))
    for _ in range(5):
        seed = rng.randbytes(48)
        print("chain", text(seed), CHAIN_ROUNDS, text(chain(seed)))


if __name__ == "__main__":
    main()
