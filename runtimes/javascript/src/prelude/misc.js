// crypto, performance, Math.random, fetch.
const INTEGERS = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array];
define("crypto", {
  getRandomValues(array) {
    if (!INTEGERS.some((kind) => array instanceof kind)) throw new DOMException("it takes an array of integers", "TypeMismatchError");
    if (array.byteLength > 65536) throw new DOMException("at most 65,536 bytes at a time", "QuotaExceededError");
    asBytes(array, "it").set(host.random(array.byteLength));
    return array;
  },
  randomUUID() {
    const bytes = host.random(16);
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  },
});
let origin = 0, began = 0;
define("performance", {
  now: () => host.monotonic() - origin,
  get timeOrigin() { return began; },
});
// xoshiro128**, seeded when an instance begins: what the engine seeds itself with is the same for all.
let s0 = 1, s1 = 2, s2 = 3, s3 = 4;
const random32 = () => {
  const result = Math.imul(((Math.imul(s1, 5) << 7) | (Math.imul(s1, 5) >>> 25)) | 0, 9) >>> 0;
  const shifted = s1 << 9;
  s2 ^= s0; s3 ^= s1; s1 ^= s2; s0 ^= s3; s2 ^= shifted;
  s3 = (s3 << 11) | (s3 >>> 21);
  return result;
};
Math.random = { random: () => (random32() * 2 ** 21 + (random32() >>> 11)) / 2 ** 53 }.random;
const seed = (bytes) => {
  [s0, s1, s2, s3] = new Int32Array(bytes.slice(0, 16).buffer);
  if (!(s0 | s1 | s2 | s3)) s0 = 1;
  origin = host.monotonic();
  began = Date.now();
};
define("fetch", (what) =>
  Promise.reject(Object.assign(new TypeError(`fetch ${what?.url ?? what}: this service has no network; deploy it as a program, or have another service fetch`), { code: "denied" })));
define("self", globalThis);
define("global", globalThis);
