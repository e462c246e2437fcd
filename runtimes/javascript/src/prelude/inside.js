// What the engine calls.
const encoder = new TextEncoder(), decoder = new TextDecoder();
const toBytes = (value) => {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return encoder.encode(value);
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return asBytes(value, "it").slice();
  return encoder.encode(JSON.stringify(value));
};
const staged = (error, soloStage) => Object.defineProperty(error, "soloStage", { value: soloStage });
const own = (service, name) => (typeof service[name] === "function" ? service[name] : undefined);
// The engine itself waits for what these promise.
const { apply } = Reflect, { then } = Promise.prototype;
const waited = (work) => (...values) => {
  const promise = work(...values);
  apply(then, promise, [undefined, () => {}]);
  return promise;
};
const rejected = (reason) => write("error", ["unhandled rejection:", reason]);
globalThis[Symbol.for("solo")] = host;
return {
  seed, next, runDue, namesOf, rejected,
  call: waited(async (service, name, text) => {
    const work = own(service, name);
    if (!work) throw staged(new TypeError(`there is no function ${name}`), "no-such-function");
    let values;
    try {
      values = JSON.parse(text);
    } catch (error) {
      throw staged(error, "bad-arguments");
    }
    if (!Array.isArray(values)) throw staged(new TypeError("the arguments are no JSON array"), "bad-arguments");
    return JSON.stringify(await work(...values)) ?? "null";
  }),
  handle: waited(async (service, payload) => {
    const work = own(service, "handle");
    if (!work) throw staged(new TypeError("it exports no handle: it takes no bytes"), "no-such-function");
    return toBytes(await work(payload));
  }),
  optional: waited(async (service, name, bytes) => {
    const work = own(service, name);
    if (!work) return undefined;
    return toBytes(await work(name === "terminate" ? decoder.decode(bytes) : name === "init" ? undefined : bytes));
  }),
  down: waited(async (service, down) => { await own(service, "onDown")?.(down); }),
  tick() { runDue(); },
};
