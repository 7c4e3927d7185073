"""The command line as a process of its own that need not load the libraries again, which takes longer than most
commands.

A process that has them loaded is forked. The child has its own folder, environment and streams from then on, and ends
as the program ends.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_PATIENCE = 60.0  # seconds
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["incident_center.cli", "tests.support.commands"])
_STREAMS = ("stdin", "stdout", "stderr")


def command(
    *words: str, folder: Path, environment: Mapping[str, str], typed: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """`incident-center` with these words, as subprocess.run would run it."""
    with tempfile.TemporaryDirectory() as scratch:
        streams = [Path(scratch, name) for name in _STREAMS]
        for path in streams:
            path.write_text(typed or "" if path.name == "stdin" else "", encoding="utf-8")
        process = _PROCESSES.Process(target=_child, args=(words, folder, dict(environment), streams))
        process.start()
        process.join(_PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
        assert process.exitcode is not None
        told = [path.read_text(encoding="utf-8") for path in streams[1:]]
        code = process.exitcode
        process.close()
    return subprocess.CompletedProcess(words, code, *told)


def _child(words: tuple[str, ...], folder: Path, environment: dict[str, str], streams: list[Path]) -> None:
    from incident_center.cli import main  # noqa: PLC0415 (in the parent it would have no use)

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (as long as the process)
    sys.argv = ["incident-center", *words]
    main()
