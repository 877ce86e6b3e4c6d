"""A peak is a peak: it is seen, and it stays."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sbka_milvus.memory import PeakMemory, address_space, peak_memory

MIB = 2**20


def test_a_peak_is_seen_and_stays() -> None:
    program = (
        "from sbka_milvus.memory import peak_memory\nbefore = peak_memory()\nblock = bytearray(b'x') * (200 * 2**20)\n"
        "with_it = peak_memory()\ndel block\nprint(before, with_it, peak_memory())"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, with_it, after = map(int, ran.stdout.split())
    assert 5 * MIB < before < 150 * MIB
    assert 195 * MIB < with_it - before < 260 * MIB
    # The kernel counts in batches.
    assert after > with_it - 4 * MIB


def test_a_process_that_is_started_does_not_inherit_the_peak_of_its_parent() -> None:
    block = bytearray(b"x") * (300 * MIB)
    program = "from sbka_milvus.memory import peak_memory; print(peak_memory())"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 150 * MIB < len(block)


def test_what_is_kept_is_not_taken_from_the_system_again() -> None:
    # Blocks of 40 MiB are over glibc's own limit, and each of their pages is a fault again and again.
    program = (
        "import resource\nfrom sbka_milvus.memory import keeping_freed_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(8): del (bytearray(40 * 2**20) + b'x')[:]\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "faults(); plain = faults()\n"
        "with keeping_freed_memory() as known:\n"
        "    with keeping_freed_memory(): faults()\n"
        "    kept = faults()\n"
        "print(int(known), plain, kept, faults())"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    known, plain, kept, after = map(int, ran.stdout.split())
    if not known:
        pytest.skip("this C library cannot be told to keep freed memory: only glibc can")
    assert kept < 100 < 8 * 40 * MIB // 4096 // 2 < min(plain, after)


def test_what_was_kept_is_given_back() -> None:
    program = (
        "import re\nfrom pathlib import Path\nfrom sbka_milvus.memory import keeping_freed_memory\n"
        "def held(): return int(re.search('VmRSS:.* ([0-9]+) kB', Path('/proc/self/status').read_text())[1]) // 1024\n"
        "with keeping_freed_memory() as known:\n"
        "    block = bytearray(b'x') * (200 * 2**20)\n"
        "    del block\n"
        "    within = held()\n"
        "print(int(known), within, held())"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    known, within, after = map(int, ran.stdout.split())
    if not known:
        pytest.skip("this C library cannot be told to keep freed memory: only glibc can")
    assert within > 200 > 100 > after


def test_addresses_are_more_than_what_is_in_memory() -> None:
    assert address_space() > 10 * MIB


def test_who_asks_often_gets_what_was_found_last() -> None:
    often, always = PeakMemory(every_s=3600.0), PeakMemory(every_s=0.0)
    first = often()
    block = bytearray(b"x") * (peak_memory() + 64 * MIB)
    assert often() == first
    assert always() > len(block) - 4 * MIB
