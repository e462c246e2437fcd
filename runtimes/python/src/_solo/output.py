"""What a service prints and logs is its log."""

import io
import logging
import sys
import threading

from wit_world.imports import log

# One line of the log.
LINE_MAX = 8_192

FORMAT = "%(name)s: %(message)s"

_begun = False


def write(level, text):
    if _begun:
        log.log(level, text)


class Lines(io.TextIOBase):
    """Writes whole lines; what has no end of line yet is written when the service's turn ends."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, level):
        self.level = level
        self.rest = ""

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            write(self.level, line)
        while len(self.rest) > LINE_MAX:
            write(self.level, self.rest[:LINE_MAX])
            self.rest = self.rest[LINE_MAX:]
        return len(text)

    def writable(self):
        return True

    def isatty(self):
        return False

    def turn_ends(self):
        if self.rest:
            write(self.level, self.rest)
            self.rest = ""


OUT, ERR = Lines(log.Level.INFO), Lines(log.Level.ERROR)


def level_of(number):
    if number >= logging.ERROR:
        return log.Level.ERROR
    if number >= logging.WARNING:
        return log.Level.WARN
    if number >= logging.INFO:
        return log.Level.INFO
    return log.Level.DEBUG


_emit = logging.StreamHandler.emit


def emit(handler, record):
    """A record that would be printed is a line of its own level."""
    if handler.stream not in (OUT, ERR):
        return _emit(handler, record)
    try:
        write(level_of(record.levelno), handler.format(record))
    except Exception:
        handler.handleError(record)


def prepare():
    sys.stdout = sys.__stdout__ = OUT
    sys.stderr = sys.__stderr__ = ERR
    sys.stdin = sys.__stdin__ = io.StringIO()
    logging.StreamHandler.emit = emit
    logging.root.setLevel(logging.INFO)
    # The level is the line's own, and so not in its text.
    logging._STYLES["%"] = (logging.PercentStyle, FORMAT)
    logging._defaultFormatter = logging.Formatter(FORMAT)
    # Of who configures nothing.
    logging.lastResort = logging.StreamHandler(ERR)
    logging.raiseExceptions = False
    threading.excepthook = lambda arguments: None


def begin():
    global _begun
    _begun = True


def turn_ends():
    OUT.turn_ends()
    ERR.turn_ends()
