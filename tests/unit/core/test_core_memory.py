"""A peak is a peak: it is seen, and it stays."""

from __future__ import annotations

import subprocess
import sys

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


def test_addresses_are_more_than_what_is_in_memory() -> None:
    assert address_space() > 10 * MIB


def test_who_asks_often_gets_what_was_found_last() -> None:
    often, always = PeakMemory(every_s=3600.0), PeakMemory(every_s=0.0)
    first = often()
    block = bytearray(b"x") * (peak_memory() + 64 * MIB)
    assert often() == first
    assert always() > len(block) - 4 * MIB
