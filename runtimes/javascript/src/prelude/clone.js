// structuredClone, DOMException.
class DOMException extends Error {
  #name;
  constructor(message = "", name = "Error") { super(message); this.#name = String(name); }
  get name() { return this.#name; }
  get code() { return ({ InvalidCharacterError: 5, DataCloneError: 25, AbortError: 20, TimeoutError: 23, QuotaExceededError: 22 })[this.#name] ?? 0; }
}
const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
function structuredClone(value, options) {
  if (!arguments.length) throw new TypeError("structuredClone takes a value");
  if (options?.transfer?.length) throw new DOMException("nothing can be transferred here", "DataCloneError");
  const seen = new Map();
  const copy = (value) => {
    if (typeof value === "symbol" || typeof value === "function")
      throw new DOMException(`${inspect(value)} could not be cloned.`, "DataCloneError");
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return seen.get(value);
    const keep = (made) => { seen.set(value, made); return made; };
    if (value instanceof Date) return keep(new Date(value.getTime()));
    if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
    if (value instanceof Boolean || value instanceof Number || value instanceof String) return keep(Object(value.valueOf()));
    if (value instanceof ArrayBuffer) return keep(value.slice(0));
    if (ArrayBuffer.isView(value)) {
      const buffer = copy(value.buffer);
      return keep(new value.constructor(buffer, value.byteOffset, value instanceof DataView ? value.byteLength : value.length));
    }
    if (value instanceof Map) {
      const made = keep(new Map());
      for (const [key, one] of [...value]) made.set(copy(key), copy(one));
      return made;
    }
    if (value instanceof Set) {
      const made = keep(new Set());
      for (const one of [...value]) made.add(copy(one));
      return made;
    }
    if (value instanceof Error) {
      const made = keep(Object.create((ERRORS[value.name] ?? Error).prototype));
      for (const key of ["message", "stack", "cause"])
        if (key in value) Object.defineProperty(made, key, { value: copy(value[key]), writable: true, configurable: true });
      return made;
    }
    if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef)
      throw new DOMException(`${inspect(value)} could not be cloned.`, "DataCloneError");
    const made = keep(Array.isArray(value) ? new Array(value.length) : {});
    for (const key of Object.keys(value)) made[key] = copy(value[key]);
    return made;
  };
  return copy(value);
}
define("DOMException", DOMException);
define("structuredClone", structuredClone);
