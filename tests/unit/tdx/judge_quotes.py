#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Judges the quotes that test_quote.c has made: `judge_quotes.py FOLDER COUNT`. tools/tdquote.py
has to find each one right, and wrong when a byte of it is changed; OpenSSL has to accept the
signature and the certificate."""

import base64
import pathlib
import subprocess
import sys

sys.path.insert(0, "tools")
import tdquote

# What X.509 puts in front of a P-256 point, for OpenSSL.
KEY_HEAD = tdquote.der(tdquote.SEQUENCE, tdquote.P256_KEY, tdquote.der(3, bytes(66)))[:-65]


def openssl(*arguments: str) -> None:
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"openssl {arguments[0]}: {result.stdout}{result.stderr}")


def signature(quote: bytes) -> bytes:
    """The quote's signature as OpenSSL wants it."""
    at = tdquote.SIGNED + 4
    halves = [quote[at : at + 32], quote[at + 32 : at + 64]]
    parts = [tdquote.der_integer(tdquote.number(half)) for half in halves]
    return tdquote.der(tdquote.SEQUENCE, *parts)


def judge(folder: pathlib.Path, quote: bytes, report: bytes) -> None:
    if wrong := tdquote.complaints(quote, report):
        sys.exit("\n".join(wrong))
    (folder / "signed").write_bytes(quote[: tdquote.SIGNED])
    (folder / "signature").write_bytes(signature(quote))
    openssl("dgst", "-sha256", "-verify", str(folder / "key.pem"), "-signature",
            str(folder / "signature"), str(folder / "signed"))  # fmt: skip


def main() -> None:
    folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    quotes = [path.read_bytes() for path in sorted(folder.glob("quote*"))]
    reports = [path.read_bytes() for path in sorted(folder.glob("report*"))]
    assert len(quotes) == len(reports) == count
    key = base64.encodebytes(KEY_HEAD + b"\x04" + tdquote.ATTESTATION.public).decode("ascii")
    (folder / "key.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{key}-----END PUBLIC KEY-----\n")
    for quote, report in zip(quotes, reports, strict=True):
        judge(folder, quote, report)
    for at in range(0, len(quotes[0]), 37):
        broken = bytearray(quotes[0])
        broken[at] ^= 1
        if not tdquote.complaints(bytes(broken), reports[0]):
            sys.exit(f"nobody notices that byte {at} is changed")
    if not tdquote.complaints(quotes[0], reports[1]):
        sys.exit("nobody notices that the quote is of another report")
    chain = quotes[0][quotes[0].index(b"-----BEGIN") :]
    (folder / "chain.pem").write_bytes(chain)
    certificate = str(folder / "chain.pem")
    openssl("verify", "-CAfile", certificate, "-check_ss_sig", certificate)


if __name__ == "__main__":
    main()
