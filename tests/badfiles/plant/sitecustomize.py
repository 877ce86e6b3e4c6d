"""Plants faults in the processes that decode: a photo's name says what its decoder does.

Python imports a module of this name from its path at its start. In every other program it does nothing.
"""

from __future__ import annotations

import sys


def _plant() -> None:
    import ctypes
    import mmap
    import os
    import time

    from sbka_milvus.images import decode

    whole = decode.decode_upright

    def faulty(data, name, *rest):
        fault = os.path.basename(name).split(".")[0].split("-")[0]  # noqa: PTH119
        if fault == "hang":
            # In C and with the interpreter's lock, as a broken library would: no thread of the process goes on.
            ctypes.PyDLL(None).sleep(600)
        elif fault == "stuck":
            time.sleep(600)
        elif fault == "segfault":
            ctypes.string_at(0)
        elif fault == "abort":
            os.abort()
        elif fault == "leave":
            os._exit(7)
        elif fault == "hungry":
            kept = [bytes(2**20) for _ in range(2**20)]
            del kept
        elif fault == "greedy":
            # A library whose memory Python does not see.
            kept = [mmap.mmap(-1, 2**24) for _ in range(2**12)]
            del kept
        elif fault == "babble":
            os.write(1, b"nobody listens\n" * 1000)
            os.write(2, b"nor here\n" * 1000)
            print("nothing of this", flush=True)
        elif fault == "forge":
            # Straight into the pipe to the parent, wherever it is.
            for handle in range(3, 64):
                try:
                    os.write(handle, b"this is no message" * 10)
                except OSError:
                    continue
        return whole(data, name, *rest)

    decode.decode_upright = faulty


if "sbka_milvus.images.decoder_process" in sys.orig_argv:
    _plant()
