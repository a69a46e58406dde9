"""The `headwater` command: ``python -m headwater``, or ``headwater`` where the package is installed."""

import os
import signal
import sys
import threading


def main() -> None:
    """Runs the command line of this process, and ends it."""
    # By path, so that a child that is started on this file finds this package and no other.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from headwater import _native

    # Signals are the command's: it ends cleanly, where Python would raise KeyboardInterrupt once it had ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pipe = os.environ.pop("HEADWATER_PARENT_PIPE", None)
    if pipe is not None:
        threading.Thread(target=_end_with_parent, args=[int(pipe)], daemon=True).start()
    code = _native.command(["headwater", *sys.argv[1:]])
    # Threads of the command are not waited for, as at the end of any program.
    os._exit(code)


def _end_with_parent(pipe: int) -> None:
    """Whoever started this holds the other end: once it is gone, however it ended, so is this."""
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
