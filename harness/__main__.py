"""``rackproof``, from its first moment: Ctrl-C while everything is imported ends it without a word."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Import the commands and run one; gives the exit code."""
    waits_for_ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waits_for_ctrl_c:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from harness.cli import main as run  # noqa: PLC0415 - takes the second in which nobody wants a traceback

    if waits_for_ctrl_c:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


if __name__ == "__main__":
    sys.exit(main())
