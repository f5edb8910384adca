#!/usr/bin/env python3
"""Checks published placement logs from the specification alone.

A second implementation, in another language, of what an auditor does. It was written from C2SP's
tlog-tiles, tlog-checkpoint and signed-note pages and shares nothing with the gateway. Where the package
`tlog-scales` is installed, its readers check the same logs once more.

    tlog_check.py DIR [--vkey V]     check every log below DIR
    tlog_check.py DIR --tamper       also damage copies of each log and demand that they are refused

Exit status: 0 all good, 1 a log is bad (or a damaged one was accepted), 2 nothing could be checked.
Needs Python 3.11 and the package `cryptography`.
"""

import argparse
import base64
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FULL = 256


class Bad(Exception):
    """The log does not hold."""


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes):
    """RFC 6962, section 2.1, by rows: an odd last hash moves up as it is."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    while len(hashes) > 1:
        row = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2])]
        hashes = row + hashes[len(row) * 2 :]
    return hashes[0]


def tile_path(kind, index, width):
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    path = f"tile/{kind}/" + "/".join(groups)
    return path if width == FULL else f"{path}.p/{width}"


READ = set()


def read(log, path):
    READ.add(path)
    try:
        return (log / path).read_bytes()
    except FileNotFoundError:
        raise Bad(f"{path} is missing") from None


def parse_vkey(text):
    name, key_id, encoded = text.strip().split("+", 2)
    typed = base64.b64decode(encoded, validate=True)
    if typed[0] != 1 or len(typed) != 33:
        raise Bad("the key is not an Ed25519 key")
    expected = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    if bytes.fromhex(key_id) != expected:
        raise Bad("the key id is not that of the key")
    return name, expected, Ed25519PublicKey.from_public_bytes(typed[1:])


def checked_head(note, vkey):
    """Origin, size and root of a checkpoint that the key signed."""
    name, key_id, public = parse_vkey(vkey)
    try:
        text, separator, signatures = note.decode().partition("\n\n")
        origin, size, root = text.split("\n")
        root = base64.b64decode(root, validate=True)
        if not separator or not signatures.endswith("\n") or origin != name or str(int(size)) != size:
            raise ValueError
        lines = [line.split(" ") for line in signatures.removesuffix("\n").split("\n")]
        blobs = [base64.b64decode(blob, validate=True) for dash, who, blob in lines if (dash, who) == ("\u2014", name)]
    except ValueError:
        raise Bad("the checkpoint is malformed") from None
    mine = [blob[4:] for blob in blobs if blob[:4] == key_id]
    if not mine:
        raise Bad("the checkpoint is not signed by the key")
    try:
        for signature in mine:
            public.verify(signature, (text + "\n").encode())
    except InvalidSignature:
        raise Bad("the signature of the checkpoint does not verify") from None
    return origin, int(size), root


def bundle_entries(bundle, path):
    entries, at = [], 0
    while at < len(bundle):
        length = int.from_bytes(bundle[at : at + 2], "big")
        entry = bundle[at + 2 : at + 2 + length]
        if len(bundle) - at < 2 + length:
            raise Bad(f"{path} is truncated")
        entries.append(entry)
        at += 2 + length
    return entries


def check(log, vkey):
    """Every entry, every tile, the root and the signature."""
    origin, size, root = checked_head(read(log, "checkpoint"), vkey)
    leaves = []
    for index in range((size + FULL - 1) // FULL):
        width = min(FULL, size - index * FULL)
        path = tile_path("entries", index, width)
        entries = bundle_entries(read(log, path), path)
        if len(entries) != width:
            raise Bad(f"{path} has {len(entries)} entries and not {width}")
        leaves += map(leaf_hash, entries)
    level, hashes = 0, leaves
    while hashes:
        for index in range((len(hashes) + FULL - 1) // FULL):
            expected = hashes[index * FULL : (index + 1) * FULL]
            path = tile_path(level, index, len(expected))
            if read(log, path) != b"".join(expected):
                raise Bad(f"{path} is not made of the hashes of what lies below it")
        full = len(hashes) // FULL
        hashes = [tree_hash(hashes[index * FULL : (index + 1) * FULL]) for index in range(full)]
        level += 1
    if tree_hash(leaves) != root:
        raise Bad("the root over all entries is not that of the checkpoint")
    return origin, size


def check_with_tlog_scales(log, vkey):
    """The same checkpoint, tiles and entries through the readers of `tlog-scales`; None without that package."""
    try:
        from tlog_scales.backend import LocalBackend
        from tlog_scales.reader import TilesReader
        from tlog_scales.signing import Vkey
        from tlog_scales.tiles import leaf_hash as their_leaf_hash
    except ImportError:
        return None
    reader = TilesReader(LocalBackend(log))
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(Vkey.from_string(vkey.strip()))
    if reader.calculate_root_hash() != checkpoint.root_hash:
        raise Bad("tlog-scales computes another root from the tiles")
    for index in sorted({0, checkpoint.size // 3, checkpoint.size // 2, checkpoint.size - 1}):
        proof = reader.get_inclusion_proof(index, checkpoint.size)
        proof.check(their_leaf_hash(reader.get_entry(index)), checkpoint.root_hash)
    for older in sorted({1, checkpoint.size // 2 or 1, checkpoint.size}):
        proof = reader.get_consistency_proof(older, checkpoint.size)
        proof.check(reader.mth(0, older), checkpoint.root_hash)
    return checkpoint.size


def tamper(log, vkey):
    """Damages copies of the log, one file each, and demands that the check refuses every one."""
    READ.clear()
    check(log, vkey)
    kinds = {}
    for path in sorted(READ):
        kinds.setdefault(tuple(path.split("/")[:2]), []).append(path)
    damaged = sorted({path for paths in kinds.values() for path in (paths[0], paths[-1])})
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "log"
        shutil.copytree(log, copy)
        for relative in damaged:
            whole = (log / relative).read_bytes()
            damages = {
                "first byte": bytes([whole[0] ^ 1]) + whole[1:],
                "middle byte": whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :],
                "last byte": whole[:-1] + bytes([whole[-1] ^ 1]),
                "truncated": whole[:-1],
                "empty": b"",
            }
            for name, bytes_ in damages.items():
                (copy / relative).write_bytes(bytes_)
                try:
                    check(copy, vkey)
                except Bad:
                    continue
                raise Bad(f"a copy with {relative} damaged ({name}) was accepted")
            (copy / relative).write_bytes(whole)
        check(copy, vkey)
    return len(damaged)


def main():
    parser = argparse.ArgumentParser(description="Checks published placement logs from the specification alone.")
    parser.add_argument("dir", type=Path)
    parser.add_argument("--vkey", help="the key to trust; without it, the `vkey` file of each log, which is weaker")
    parser.add_argument("--tamper", action="store_true", help="demand that damaged copies are refused")
    arguments = parser.parse_args()
    logs = sorted(path.parent for path in arguments.dir.rglob("checkpoint") if "tile" not in path.parts[-2:-1])
    if not logs:
        print(f"{arguments.dir} holds no log", file=sys.stderr)
        return 2
    status = 0
    for log in logs:
        try:
            vkey = arguments.vkey or read(log, "vkey").decode()
            origin, size = check(log, vkey)
            scales = check_with_tlog_scales(log, vkey)
            line = f"ok: {origin}, {size} entries" + ("" if scales is None else ", tlog-scales agrees")
            if arguments.tamper:
                line += f", damage in {tamper(log, vkey)} files refused"
            print(line)
        except Exception as error:  # a crash of the check, ours or a foreign one, is a refusal too
            print(f"bad: {os.path.relpath(log, arguments.dir)}: {type(error).__name__}: {error}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
