// TextEncoder, TextDecoder, atob, btoa.
const define = (name, value) =>
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
const asBytes = (source, what) => {
  if (source === undefined) return new Uint8Array(0);
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  throw new TypeError(`${what} is no ArrayBuffer and no view of one`);
};
class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text = "") { return host.encode(String(text).toWellFormed()); }
  encodeInto(text, target) {
    let read = 0, written = 0;
    for (const character of String(text).toWellFormed()) {
      const bytes = host.encode(character);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}
// Bytes at the end that begin a character which is not complete.
const incomplete = (bytes) => {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back ? back : 0;
  }
  return 0;
};
const ENCODINGS = { "utf-8": "utf-8", utf8: "utf-8", "unicode-1-1-utf-8": "utf-8", "utf-16le": "utf-16le", "utf-16": "utf-16le",
  latin1: "windows-1252", ascii: "windows-1252", "us-ascii": "windows-1252", "iso-8859-1": "windows-1252" };
class TextDecoder {
  #encoding; #fatal; #ignoreBOM; #rest = new Uint8Array(0); #begun = false;
  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    this.#encoding = ENCODINGS[String(label).trim().toLowerCase()];
    if (!this.#encoding) throw new RangeError(`the encoding ${label} is not supported`);
    this.#fatal = Boolean(fatal);
    this.#ignoreBOM = Boolean(ignoreBOM);
  }
  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }
  decode(source, { stream = false } = {}) {
    let bytes = asBytes(source, "what is to be decoded");
    if (this.#rest.length) {
      const joined = new Uint8Array(this.#rest.length + bytes.length);
      joined.set(this.#rest);
      joined.set(bytes, this.#rest.length);
      bytes = joined;
      this.#rest = new Uint8Array(0);
    }
    if (stream) {
      const kept = this.#encoding === "utf-8" ? incomplete(bytes) : this.#encoding === "utf-16le" ? bytes.length % 2 : 0;
      this.#rest = bytes.slice(bytes.length - kept);
      bytes = bytes.subarray(0, bytes.length - kept);
    }
    let text;
    if (this.#encoding === "utf-8") text = host.decode(bytes.slice(), this.#fatal);
    else if (this.#encoding === "utf-16le") {
      if (bytes.length % 2 && this.#fatal) throw new TypeError("The encoded data was not valid utf-16le");
      text = "";
      for (let at = 0; at + 1 < bytes.length; at += 2) text += String.fromCharCode(bytes[at] | (bytes[at + 1] << 8));
      if (bytes.length % 2) text += "\ufffd";
    } else {
      text = "";
      for (const byte of bytes) text += String.fromCharCode(byte);
    }
    if (!this.#begun && !this.#ignoreBOM && text.startsWith("\ufeff")) text = text.slice(1);
    this.#begun = stream;
    return text;
  }
}
const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const badCharacter = () => new DOMException("The string contains characters outside of the Latin1 range or of base64.", "InvalidCharacterError");
function btoa(text) {
  text = String(text);
  let out = "";
  for (let at = 0; at < text.length; at += 3) {
    const codes = [0, 1, 2].map((offset) => text.charCodeAt(at + offset));
    if (codes.some((code) => code > 255)) throw badCharacter();
    const number = (codes[0] << 16) | ((codes[1] || 0) << 8) | (codes[2] || 0);
    out += BASE64[number >> 18] + BASE64[(number >> 12) & 63];
    out += at + 1 < text.length ? BASE64[(number >> 6) & 63] : "=";
    out += at + 2 < text.length ? BASE64[number & 63] : "=";
  }
  return out;
}
function atob(text) {
  text = String(text).replace(/[\t\n\f\r ]/g, "");
  if (text.length % 4 === 0) text = text.replace(/==?$/, "");
  if (text.length % 4 === 1) throw badCharacter();
  let out = "", bits = 0, count = 0;
  for (const character of text) {
    const code = BASE64.indexOf(character);
    if (code < 0) throw badCharacter();
    bits = ((bits << 6) | code) & 0xffffff;
    count += 6;
    if (count >= 8) out += String.fromCharCode((bits >> (count -= 8)) & 255);
  }
  return out;
}
define("TextEncoder", TextEncoder);
define("TextDecoder", TextDecoder);
define("atob", atob);
define("btoa", btoa);
