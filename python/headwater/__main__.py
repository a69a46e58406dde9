"""The `headwater` command: ``python -m headwater``, or ``headwater`` where the package is installed."""

import os
import signal
import sys


def main() -> None:
    """Runs the command line of this process, and ends it."""
    # By path, so that a child that is started on this file finds this package and no other.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from headwater import _native

    # Signals are the command's: it ends cleanly, where Python would raise KeyboardInterrupt once it had ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = _native.command(["headwater", *sys.argv[1:]])
    # Threads of the command are not waited for, as at the end of any program.
    os._exit(code)


if __name__ == "__main__":
    main()
