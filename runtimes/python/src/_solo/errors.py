"""Errors of a service, as the cell is told of them."""

import sys

from componentize_py_types import Err
from wit_world.exports.source import Failure, Stage

SYNTAX, IMPORT, LOAD, CALL = Stage.SYNTAX, Stage.IMPORT, Stage.LOAD, Stage.CALL

# Of the runtime itself, and of what imports: nobody's business.
INSIDE = ("/0/", "<frozen ", "/python/importlib/", "/python/asyncio/", "<python>/importlib/", "<python>/asyncio/")
LIBRARY = ("/python/", "<python>/")
FRAMES_MAX = 32
CAUSES_MAX = 4
MESSAGE_MAX = 4_096


class Refused(Exception):
    """Not an error of the service, but of who asks for something of it."""

    def __init__(self, stage, message):
        super().__init__(message)
        self.stage = stage


def told(stage, work, *values):
    """Works, and raises what the cell understands."""
    try:
        return work(*values)
    except Refused as error:
        raise Err(Failure(error.stage, "", str(error), "", 0, 0, "")) from None
    except Err as error:
        # Of an interface that the service called by itself: what it is about only it knows.
        if isinstance(error.value, Failure):
            raise
        raise Err(failure(stage, error)) from None
    except BaseException as error:
        raise Err(failure(stage, error)) from None


def failure(stage, error):
    """What is to be told of an error."""
    frames, file, line, column = [], "", 0, 0
    seen = error
    for count in range(CAUSES_MAX):
        if count:
            frames.append(f"caused by {name_of(seen)}: {message_of(seen)}")
        own = own_frames(seen)
        # The first that the sender can mend: of the library nobody here can.
        place = next((frame for frame in own if not frame[1].startswith(LIBRARY)), None)
        if not file and place:
            _, file, line, column = place
        frames += [f"at {name} ({path}:{line}:{column})" for name, path, line, column in own]
        cause = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        if cause is None or len(frames) >= FRAMES_MAX:
            break
        seen = cause
    message = message_of(error)
    if isinstance(error, SyntaxError):
        stage = SYNTAX if stage in (SYNTAX, LOAD) else stage
        if error.filename:
            file, line, column = error.filename, error.lineno or 0, error.offset or 0
        message = str(error.msg)
    elif isinstance(error, ImportError) and stage == LOAD:
        stage = IMPORT
    return Failure(stage, name_of(error), message[:MESSAGE_MAX], file, max(line, 0), max(column, 0), "\n".join(frames[:FRAMES_MAX]))


def name_of(error):
    return type(error).__name__


def message_of(error):
    try:
        return str(error)
    except BaseException:
        return "(it cannot be told)"


def own_frames(error):
    """Name, file, line and column (from 1) of each frame, the innermost first."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(INSIDE):
            frames.append((code.co_qualname, code.co_filename, trace.tb_lineno, column_of(code, trace.tb_lasti)))
            # Recursion without end has thousands; the innermost are told.
            if len(frames) > 4 * FRAMES_MAX:
                del frames[:2 * FRAMES_MAX]
        trace = trace.tb_next
    frames.reverse()
    return frames[:FRAMES_MAX]


def column_of(code, instruction):
    if instruction < 0:
        return 0
    for index, (_, _, column, _) in enumerate(code.co_positions()):
        if index == instruction // 2:
            return 0 if column is None else column + 1
    return 0


def report(write, title, error):
    """Writes an error that nobody waits for to the log."""
    told = failure(CALL, error)
    place = f"\n{told.stack}" if told.stack else ""
    write(f"{title}: {told.name}: {told.message}{place}")


sys.excepthook = lambda kind, error, trace: None
