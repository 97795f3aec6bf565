#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Quotes of the test key: `tdquote.py QUOTE` checks one, `tdquote.py --key` writes the key as C.

A VM with the word quote=test gets quotes in the format of Intel's (version 4, ECDSA with P-256), so
that software for attestation can be tried. They prove nothing: the private keys are in this file.
Because a secret nonce would protect nothing, each signature has the nonce 1. So a signature (r, s)
has r = the generator's x, and s = hash + r * key modulo the order of the curve, for which the
hypervisor needs no arithmetic of curves. Any verifier accepts it that does not know the signer.

QUOTE is a file, or `-`; --report FILE compares the quote's body with a TDREPORT. The exit status is
0 if all signatures are right, 1 if not.
"""

import base64
import hashlib
import pathlib
import struct
import sys

# ---- P-256 (SEC 2, secp256r1) --------------------------------------------------------------------

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

Point = tuple[int, int] | None  # None: the point at infinity


def add(left: Point, right: Point) -> Point:
    if left is None or right is None:
        return left or right
    if left[0] == right[0]:
        if (left[1] + right[1]) % P == 0:
            return None
        slope = (3 * left[0] * left[0] - 3) * pow(2 * left[1], -1, P)
    else:
        slope = (right[1] - left[1]) * pow(right[0] - left[0], -1, P)
    x = (slope * slope - left[0] - right[0]) % P
    return x, (slope * (left[0] - x) - left[1]) % P


def multiply(number: int, point: Point) -> Point:
    result: Point = None
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def number(content: bytes) -> int:
    return int.from_bytes(content, "big")


def octets(value: int) -> bytes:
    return value.to_bytes(32, "big")


class Key:
    """A key pair whose private half everybody knows."""

    def __init__(self, name: str) -> None:
        self.private = number(sha256(f"eptvisor: the {name} key of test quotes".encode())) % N
        self.point = multiply(self.private, G)
        assert self.point
        self.public = octets(self.point[0]) + octets(self.point[1])
        self.r = G[0] % N
        self.r_key = self.r * self.private % N

    def sign(self, content: bytes) -> bytes:
        return octets(self.r) + octets((number(sha256(content)) + self.r_key) % N)


def verifies(public: bytes, content: bytes, signature: bytes) -> bool:
    r, s = number(signature[:32]), number(signature[32:])
    point = number(public[:32]), number(public[32:])
    on_curve = (point[1] ** 2 - point[0] ** 3 + 3 * point[0] - B) % P == 0
    if not (on_curve and 0 < r < N and 0 < s < N):
        return False
    inverse = pow(s, -1, N)
    hashed = multiply(number(sha256(content)) * inverse % N, G)
    total = add(hashed, multiply(r * inverse % N, point))
    return total is not None and total[0] % N == r


ATTESTATION = Key("attestation")
PLATFORM = Key("platform")  # in place of the key whose certificate Intel signs


# ---- The certificate of the platform's key (X.509, DER) -----------------------------------------


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    octets_of_size = size.to_bytes((size.bit_length() + 7) // 8, "big")
    head = bytes([size]) if size < 128 else bytes([0x80 | len(octets_of_size)]) + octets_of_size
    return bytes([tag]) + head + content


def der_integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


SEQUENCE, SET, OBJECT, BITS, TEXT, TIME = 0x30, 0x31, 6, 3, 0x0C, 0x18
ECDSA_SHA256 = der(SEQUENCE, der(OBJECT, bytes.fromhex("2a8648ce3d040302")))
P256_KEY = der(SEQUENCE, der(OBJECT, bytes.fromhex("2a8648ce3d0201")),
               der(OBJECT, bytes.fromhex("2a8648ce3d030107")))  # fmt: skip
COMMON_NAME = der(OBJECT, bytes.fromhex("550403"))


def certificate() -> bytes:
    """Returns the self-signed certificate of the platform's key."""
    name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME,
               der(TEXT, b"eptvisor test quotes, which prove nothing"))))  # fmt: skip
    validity = der(SEQUENCE, der(TIME, b"20260101000000Z"), der(TIME, b"20991231235959Z"))
    key = der(SEQUENCE, P256_KEY, der(BITS, b"\0\x04", PLATFORM.public))
    body = der(SEQUENCE, der_integer(1), ECDSA_SHA256, name, validity, name, key)
    signature = PLATFORM.sign(body)
    pair = der(SEQUENCE, der_integer(number(signature[:32])), der_integer(number(signature[32:])))
    return der(SEQUENCE, body, ECDSA_SHA256, der(BITS, b"\0", pair))


def pem(content: bytes) -> bytes:
    text = base64.b64encode(content).decode("ascii")
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join(
        ["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""]
    ).encode("ascii")


# ---- The quote (Intel, "TDX DCAP: Quote Generation Library", version 4) --------------------------

VERSION, ECDSA_P256, TEE_TDX = 4, 2, 0x81
VENDOR = b"eptvisor test\0\0\0"
HEADER = struct.Struct("<HHI4x16s20x")
BODY = 584
SIGNED = HEADER.size + BODY
QE_REPORT_CERTIFICATION, CERTIFICATE_CHAIN = 6, 5
QE_REPORT = 384
QE_DATA = slice(320, 352)  # in the QE's report: the hash of the attestation key
QE_SIGNER = 128
AUTHENTICATION = b"eptvisor"


def key_data() -> bytes:
    """Returns what follows the signature in each quote: the key and its certification."""
    report = bytearray(QE_REPORT)
    report[QE_SIGNER : QE_SIGNER + 32] = b"eptvisor, which is not Intel".ljust(32, b"\0")
    report[QE_DATA] = sha256(ATTESTATION.public + AUTHENTICATION)
    chain = pem(certificate())
    certification = b"".join([
        bytes(report), PLATFORM.sign(bytes(report)),
        struct.pack("<H", len(AUTHENTICATION)), AUTHENTICATION,
        struct.pack("<HI", CERTIFICATE_CHAIN, len(chain)), chain,
    ])  # fmt: skip
    return b"".join([
        ATTESTATION.public,
        struct.pack("<HI", QE_REPORT_CERTIFICATION, len(certification)), certification,
    ])  # fmt: skip


def c_array(name: str, content: bytes) -> str:
    rows = [
        "    " + " ".join(f"0x{byte:02x}," for byte in content[i : i + 16])
        for i in range(0, len(content), 16)
    ]
    return f"const uint8_t {name}[{len(content)}] = {{\n" + "\n".join(rows) + "\n};\n"


def write_key() -> None:
    data = key_data()
    print("/* Made by tools/tdquote.py. */")
    print('#include "tdx/quote_key.h"\n')
    print(c_array("tdx_quote_r", octets(ATTESTATION.r)))
    print(c_array("tdx_quote_r_key", octets(ATTESTATION.r_key)))
    print(c_array("tdx_quote_order", octets(N)))
    print(f"const size_t tdx_quote_key_size = {len(data)};")
    print(c_array("tdx_quote_key", data))


# ---- Checks --------------------------------------------------------------------------------------


def body_of(report: bytes) -> bytes:
    """Returns the body of a quote that is made of this TDREPORT."""
    tcb, td = report[256:512], report[512:1024]
    return tcb[8:128] + td[:400] + report[128:192]


def complaints(quote: bytes, report: bytes | None) -> list[str]:
    """Returns what is wrong with a quote, in the order of its fields."""
    if len(quote) < SIGNED + 4:
        return [f"it has {len(quote)} bytes, too few for a quote"]
    found = []
    version, key_type, tee, vendor = HEADER.unpack_from(quote)
    heads = (("version", version, VERSION), ("key type", key_type, ECDSA_P256),
             ("TEE type", tee, TEE_TDX), ("vendor", vendor, VENDOR))  # fmt: skip
    for name, value, wanted in heads:
        if value != wanted:
            found.append(f"its {name} is {value!r}, should be {wanted!r}")
    (size,) = struct.unpack_from("<I", quote, SIGNED)
    data = quote[SIGNED + 4 :]
    wanted_data = key_data()
    if size != 64 + len(wanted_data) or len(data) < size:
        return [*found, f"its signature data has {len(data)} bytes and says {size}, should have "
                f"{64 + len(wanted_data)}"]  # fmt: skip
    signature, key = data[:64], data[64:size]
    if key != wanted_data:
        found.append("the key, or what certifies it, is not that of test quotes")
    if not verifies(ATTESTATION.public, quote[:SIGNED], signature):
        found.append("the signature does not match the header and the body")
    if report is not None and quote[HEADER.size : SIGNED] != body_of(report):
        found.append("its body is not that of the report")
    return found


def main() -> int:
    arguments = sys.argv[1:]
    if arguments == ["--key"]:
        write_key()
        return 0
    report = None
    if len(arguments) == 3 and arguments[1] == "--report":
        report = pathlib.Path(arguments[2]).read_bytes()
    elif len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    source = arguments[0]
    quote = sys.stdin.buffer.read() if source == "-" else pathlib.Path(source).read_bytes()
    wrong = complaints(quote, report)
    for line in wrong:
        print(f"WRONG: {line}")
    if not wrong:
        print("OK: a quote of the test key, which proves nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
