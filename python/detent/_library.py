"""detent's shared library by ctypes. The structures are those of include/detent/*.h; tests/python compares them."""
import ctypes as c
import ctypes.util
import os

import numpy as np


class Error(Exception):
    """What failed, as detent says it."""


class Options(c.Structure):
    _fields_ = [("backend", c.c_char_p), ("device", c.c_int), ("threads", c.c_int), ("precision", c.c_int),
                ("seed", c.c_uint64), ("no_graph", c.c_int)]


class ModelInfo(c.Structure):
    _fields_ = [("name", c.c_char_p)] + [(name, c.c_int) for name in (
        "height", "width", "channels", "n_classes", "wbits_least", "wbits_most", "abits_least", "abits_most", "n_float",
        "rule", "caps_dim", "routing", "has_decoder", "n_folded_norms", "n_norms", "unit_pixels", "is_binary",
        "is_resized")]


class ValueBatch(c.Structure):
    _fields_ = [("name", c.c_char_p), ("first", c.c_int64), ("ndim", c.c_int), ("dim", c.c_int64 * 6),
                ("values", c.POINTER(c.c_float)), ("n_scale", c.c_int), ("scale", c.POINTER(c.c_float))]


LOOK = c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(ValueBatch))
WANTS = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p)


class Prediction(c.Structure):
    _fields_ = [("dataset", c.c_void_p), ("pixels", c.c_void_p), ("normalised", c.c_void_p), ("first", c.c_int64),
                ("n", c.c_int64), ("batch", c.c_int), ("look", LOOK), ("wants", WANTS), ("user", c.c_void_p),
                ("progress", c.c_void_p), ("beside", c.c_void_p), ("n_beside", c.c_int)]


MODEL_TEXT_BYTES = 320
INTERRUPTED = 12  # DT_ERR_INTERRUPTED
PROGRAM = b"detent-program"


def _find():
    name = os.environ.get("DETENT_LIBRARY") or ctypes.util.find_library("detent")
    if not name:
        raise Error("libdetent was not found; install it (apt install libdetent0.1), or name it in DETENT_LIBRARY")
    try:
        library = c.CDLL(name)
    except OSError as problem:
        raise Error(f"{name} cannot be loaded: {problem}") from None
    library.dt_last_error.restype = c.c_char_p
    return library


_loaded = None


def load():
    """The shared library, which the first call loads."""
    global _loaded
    _loaded = _loaded or _find()
    return _loaded


def check(status):
    """Raises what the last call failed with."""
    if status != 0:
        raise Error(load().dt_last_error().decode(errors="replace"))


def _array(batch):
    """A copy of a batch's values, and of its scale."""
    shape = batch.dim[:batch.ndim]
    values = np.ctypeslib.as_array(batch.values, shape).copy()
    scale = np.ctypeslib.as_array(batch.scale, (batch.n_scale,)).copy() if batch.n_scale else None
    return values, scale


class Handle:
    """A context with one model."""

    def __init__(self, path, threads):
        self._context, self._model = c.c_void_p(), c.c_void_p()
        self._lib = load()
        options = Options()
        self._lib.dt_options_default(c.byref(options))
        options.backend = b"cpu"
        options.threads = threads
        check(self._lib.dt_context_create(c.byref(options), c.byref(self._context)))
        kind = c.create_string_buffer(64)
        file = os.fsencode(path)
        check(self._lib.dt_file_format(file, kind, c.c_size_t(64)))
        if kind.value == PROGRAM:
            program = c.c_void_p()
            check(self._lib.dt_program_load(file, c.byref(program)))
            status = self._lib.dt_program_model(self._context, program, None, c.byref(self._model))
            self._lib.dt_program_destroy(program)
            check(status)
        else:
            check(self._lib.dt_checkpoint_open(self._context, file, c.byref(self._model)))

    def __del__(self):
        if getattr(self, "_lib", None) is None:
            return
        self._lib.dt_model_destroy(self._model)
        self._lib.dt_context_destroy(self._context)

    def info(self):
        info = ModelInfo()
        self._lib.dt_model_look(self._model, c.byref(info))
        return info

    def text(self):
        text = c.create_string_buffer(MODEL_TEXT_BYTES)
        self._lib.dt_model_describe(self._model, text)
        return text.value.decode()

    def predict(self, images, scores, keep, wanted):
        """keep(name, values, scale) is called for each batch of each wanted value; wanted is None: of all."""
        problem = []

        def look(_, batch):
            try:
                keep(batch.contents.name.decode(), *_array(batch.contents))
            except BaseException as raised:  # it goes on below, when C has returned
                problem.append(raised)
                return INTERRUPTED
            return 0

        what = Prediction(n=len(images))
        setattr(what, "pixels" if images.dtype == np.uint8 else "normalised", images.ctypes.data)
        if keep:
            what.look = LOOK(look)
            what.wants = WANTS(lambda _, name: wanted is None or name.decode() in wanted)
        status = self._lib.dt_predict(self._model, c.byref(what), scores.ctypes.data_as(c.c_void_p))
        if problem:
            raise problem[0]
        check(status)
