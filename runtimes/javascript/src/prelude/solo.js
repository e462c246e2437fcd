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
const json = (values) => JSON.stringify(values);
// By name with a JSON array of arguments, or bytes: call("adder", "add", [1, 2]), call("counter", "add 3").
export const call = async (service, what = "", values, options = {}) => {
  if (Array.isArray(values)) return JSON.parse(host.callFunction(service, what, json(values), options.timeoutMs));
  return answer(host.call(service, bytes(what), (values ?? options).timeoutMs));
};
export const send = async (service, what = "", values) =>
  Array.isArray(values) ? host.sendFunction(service, what, json(values)) : host.send(service, bytes(what));
// Its functions as methods: await service("adder").add(1, 2).
export const service = (name, options) => new Proxy(Object.freeze({}), {
  get: (_, method) => (typeof method !== "string" || method === "then" ? undefined : (...values) => call(name, method, values, options)),
});
export const lookup = async (name) => {
  host.lookup(name);
  return { name, call: (...rest) => call(name, ...rest), send: (...rest) => send(name, ...rest), monitor: () => monitor(name) };
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
export default { call, send, service, lookup, monitor, demonitor, self, traceId, remainingMs, log, kv, config, secret };
