// The module "solo".
const host = globalThis[Symbol.for("solo")];
delete globalThis[Symbol.for("solo")];
const encoder = new TextEncoder(), decoder = new TextDecoder();
const bytes = (value) =>
  value instanceof Uint8Array ? value
  : value instanceof ArrayBuffer ? new Uint8Array(value)
  : ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  : encoder.encode(typeof value === "string" ? value : JSON.stringify(value) ?? "");
// Bytes with a text: what most services say to each other.
const answer = (value) => Object.assign(value, { text: () => decoder.decode(value), json: () => JSON.parse(decoder.decode(value)) });
export const call = async (service, payload = "", { timeoutMs } = {}) => answer(host.call(service, bytes(payload), timeoutMs));
export const send = async (service, payload = "") => host.send(service, bytes(payload));
export const lookup = async (service) => {
  host.lookup(service);
  return { name: service, call: (payload, options) => call(service, payload, options), send: (payload) => send(service, payload), monitor: () => monitor(service) };
};
export const monitor = async (service) => host.monitor(service);
export const demonitor = async (watch) => host.demonitor(watch);
export const self = () => host.selfId();
export const traceId = () => host.traceId();
export const remainingMs = () => host.remaining() ?? null;
export const log = {
  trace: (...values) => host.log("trace", values.map(String).join(" ")),
  debug: (...values) => host.log("debug", values.map(String).join(" ")),
  info: (...values) => host.log("info", values.map(String).join(" ")),
  warn: (...values) => host.log("warn", values.map(String).join(" ")),
  error: (...values) => host.log("error", values.map(String).join(" ")),
};
export const kv = {
  getBytes: async (key) => host.kvGet(key) ?? null,
  get: async (key) => { const value = host.kvGet(key); return value == null ? null : decoder.decode(value); },
  getJSON: async (key) => { const value = host.kvGet(key); return value == null ? null : JSON.parse(decoder.decode(value)); },
  set: async (key, value) => host.kvSet(key, bytes(value)),
  setJSON: async (key, value) => host.kvSet(key, encoder.encode(JSON.stringify(value))),
  delete: async (key) => host.kvDelete(key),
  has: async (key) => host.kvExists(key),
  increment: async (key, delta = 1) => host.kvAdd(key, delta),
  keys: async function* () {
    for (let cursor = null; ; ) {
      const page = host.kvKeys(cursor);
      yield* page.keys;
      if (page.cursor == null) return;
      cursor = page.cursor;
    }
  },
};
export const config = (key) => host.config(key) ?? null;
export const secret = (key) => { const value = host.secret(key); return value == null ? null : decoder.decode(value); };
export default { call, send, lookup, monitor, demonitor, self, traceId, remainingMs, log, kv, config, secret };
