"""`ctypes` as far as packages ask it for sizes when they are imported. There is no native code to be called."""

import sys
import types

from . import modules

# Bytes that each has on this machine, which has 32 bits.
SIZES = {
    "c_bool": 1, "c_byte": 1, "c_ubyte": 1, "c_char": 1, "c_int8": 1, "c_uint8": 1, "c_short": 2, "c_ushort": 2,
    "c_int16": 2, "c_uint16": 2, "c_int": 4, "c_uint": 4, "c_int32": 4, "c_uint32": 4, "c_long": 4, "c_ulong": 4,
    "c_float": 4, "c_longlong": 8, "c_ulonglong": 8, "c_int64": 8, "c_uint64": 8, "c_double": 8, "c_size_t": 4,
    "c_ssize_t": 4, "c_void_p": 4, "c_char_p": 4, "c_wchar": 4, "c_wchar_p": 4, "py_object": 4,
}


class Number:
    size = 0

    def __init__(self, value=0):
        self.value = value


def sizeof(what):
    return what.size


def refused(name):
    raise AttributeError(f"module 'ctypes' has no {name!r} here: {modules.NO_NATIVE}")


def prepare():
    module = types.ModuleType("ctypes", __doc__)
    for name, size in SIZES.items():
        setattr(module, name, type(name, (Number,), {"size": size, "__module__": "ctypes"}))
    module.sizeof = sizeof
    module.__getattr__ = refused
    sys.modules["ctypes"] = module
