"""Python services: CPython, given its source when an instance starts.

All that stands in modules here runs once, when the component is built, and what is then in memory is the
beginning of every instance. Nothing of the machine (clock, random numbers) may be asked for before `load`.
"""

import solo  # noqa: F401  for services
from _solo import errors, library, output, reader, service

library.prepare()
output.prepare()
service.prepare()


class Source:
    """`solo:runtime/source`"""

    def load(self, entry, modules):
        return errors.told(errors.LOAD, service.load, entry)

    def init(self):
        errors.told(errors.CALL, service.init)

    def call(self, function, arguments):
        return errors.told(errors.CALL, service.call, function, arguments)

    def handle(self, payload):
        return errors.told(errors.CALL, service.handle, payload)

    def handle_down(self, down):
        errors.told(errors.CALL, service.handle_down, down)

    def tick(self):
        errors.told(errors.CALL, service.tick)

    def terminate(self, reason):
        service.terminate(reason)

    def export_state(self):
        return errors.told(errors.CALL, service.export_state)

    def import_state(self, state):
        errors.told(errors.CALL, service.import_state, state)


class Reader:
    """`solo:runtime/reader`"""

    def read(self, entry):
        return errors.told(errors.SYNTAX, reader.read, entry)


library.close()
