"""The event loop of asyncio, without sockets: tasks and timers. While nobody calls, the host wakes the service
when the next timer is due.
"""

import asyncio
import math
import time

from componentize_py_types import Err
from wit_world.imports import timers

from . import errors, output
from wit_world.imports.log import Level

# What the cell hands back to `tick`.
TICK = b"tick"


class Selector:
    """Waits for time alone."""

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("it waits for what will never come: no task and no timer is left that could end it")
        if timeout > 0:
            time.sleep(timeout)
        return ()

    def get_map(self):
        return {}

    def close(self):
        pass


class Loop(asyncio.BaseEventLoop):
    def __init__(self):
        super().__init__()
        self._selector = Selector()
        self.set_exception_handler(unhandled)

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

    def is_busy(self):
        """Something is to be run now or later."""
        return bool(self._ready or self._scheduled)

    def due_in(self):
        """Seconds until something is to be run. None: nothing is."""
        if self._ready:
            return 0
        waiting = [timer._when for timer in self._scheduled[:1] if not timer._cancelled]
        if not waiting and self._scheduled:
            waiting = [min((timer._when for timer in self._scheduled if not timer._cancelled), default=math.inf)]
        return max(waiting[0] - self.time(), 0) if waiting and waiting[0] < math.inf else None

    def turn(self):
        """Runs what is due, once."""
        self.call_soon(self.stop)
        self.run_forever()


def unhandled(loop, context):
    error = context.get("exception")
    if error is None:
        output.write(Level.ERROR, context["message"])
    else:
        errors.report(lambda text: output.write(Level.ERROR, text), context["message"], error)


# (when, timer) of the host's timer.
_wake = None
_loop = None


def prepare():
    asyncio.new_event_loop = asyncio.events.new_event_loop = Loop
    asyncio.SelectorEventLoop = asyncio.DefaultEventLoopPolicy = None


def begin():
    global _loop
    _loop = Loop()
    asyncio.set_event_loop(_loop)


def run(coroutine):
    """Waits for it."""
    return _loop.run_until_complete(coroutine)


def tick():
    global _wake
    _wake = None
    _loop.turn()


def arm():
    """Has the host call `tick` when the next timer is due."""
    global _wake
    if not _loop.is_busy() or (due := _loop.due_in()) is None:
        return
    at = time.monotonic() + due
    if _wake is not None:
        if _wake[0] <= at:
            return
        timers.cancel(_wake[1])
    try:
        _wake = (at, timers.send_after(math.ceil(due * 1_000), TICK))
    except Err:
        # No place among the timers of the instance: it is woken by its next message.
        _wake = None
