// URL and URLSearchParams.
const PARTS = ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash", "origin"];
const fromForm = (text) => {
  const bytes = [];
  const raw = host.encode(text.replace(/\+/g, " "));
  for (let at = 0; at < raw.length; at++) {
    const hex = raw[at] === 37 ? String.fromCharCode(raw[at + 1], raw[at + 2]) : "";
    if (/^[0-9a-fA-F]{2}$/.test(hex)) { bytes.push(parseInt(hex, 16)); at += 2; } else bytes.push(raw[at]);
  }
  return host.decode(new Uint8Array(bytes), false);
};
const toForm = (text) => {
  let out = "";
  for (const byte of host.encode(text)) {
    const character = String.fromCharCode(byte);
    if (/[A-Za-z0-9*\-._]/.test(character)) out += character;
    else out += byte === 32 ? "+" : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
};
const readForm = (text) =>
  text.split("&").filter(Boolean).map((pair) => {
    const at = pair.indexOf("=");
    return at < 0 ? [fromForm(pair), ""] : [fromForm(pair.slice(0, at)), fromForm(pair.slice(at + 1))];
  });
const wellFormed = (value) => String(value).toWellFormed();
class URLSearchParams {
  #pairs = []; #changed = null;
  constructor(from = "") {
    if (from !== null && (typeof from === "object" || typeof from === "function")) {
      if (typeof from[Symbol.iterator] === "function") {
        for (const pair of from) {
          const [name, value, ...rest] = pair;
          if ([...pair].length !== 2 || rest.length) throw new TypeError("each pair has a name and a value");
          this.#pairs.push([wellFormed(name), wellFormed(value)]);
        }
      } else for (const name of Object.keys(from)) this.#pairs.push([wellFormed(name), wellFormed(from[name])]);
    } else this.#pairs = readForm(wellFormed(from).replace(/^\?/, ""));
  }
  static bind(params, text, changed) { params.#pairs = readForm(text); params.#changed = changed; }
  #change(pairs) { this.#pairs = pairs; this.#changed?.(this.toString()); }
  get size() { return this.#pairs.length; }
  append(name, value) { this.#change([...this.#pairs, [wellFormed(name), wellFormed(value)]]); }
  delete(name, value) { this.#change(this.#pairs.filter(([n, v]) => n !== String(name) || (value !== undefined && v !== String(value)))); }
  get(name) { return this.#pairs.find(([n]) => n === String(name))?.[1] ?? null; }
  getAll(name) { return this.#pairs.filter(([n]) => n === String(name)).map(([, value]) => value); }
  has(name, value) { return this.#pairs.some(([n, v]) => n === String(name) && (value === undefined || v === String(value))); }
  set(name, value) {
    name = wellFormed(name);
    const at = this.#pairs.findIndex(([n]) => n === name);
    if (at < 0) return this.append(name, value);
    this.#change(this.#pairs.flatMap((pair, index) => (index === at ? [[name, wellFormed(value)]] : pair[0] === name ? [] : [pair])));
  }
  sort() { this.#change([...this.#pairs].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))); }
  forEach(work, self) { for (const [name, value] of this) work.call(self, value, name, this); }
  *entries() { for (let at = 0; at < this.#pairs.length; at++) yield [...this.#pairs[at]]; }
  *keys() { for (const [name] of this.entries()) yield name; }
  *values() { for (const [, value] of this.entries()) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  toString() { return this.#pairs.map(([name, value]) => `${toForm(name)}=${toForm(value)}`).join("&"); }
}
const bindParams = URLSearchParams.bind;
delete URLSearchParams.bind;
class URL {
  #parts; #params = null;
  constructor(text, base) {
    this.#parts = host.urlParse(wellFormed(text), base === undefined ? null : wellFormed(base));
    if (!this.#parts) throw Object.assign(new TypeError("Invalid URL"), { code: "ERR_INVALID_URL", input: String(text) });
  }
  static canParse(text, base) { return host.urlParse(wellFormed(text), base === undefined ? null : wellFormed(base)) != null; }
  static parse(text, base) { return URL.canParse(text, base) ? new URL(text, base) : null; }
  static part(url, at) { return url.#parts[at]; }
  static setPart(url, name, value, fromParams) {
    const parts = name === "href" ? host.urlParse(value, null) : host.urlSet(url.#parts[0], name, value);
    if (!parts) throw new TypeError("Invalid URL");
    url.#parts = parts;
    if (!fromParams && url.#params) url.#bind();
  }
  #bind() { bindParams(this.#params, this.#parts[8].replace(/^\?/, ""), (text) => setPart(this, "search", text, true)); }
  get searchParams() {
    if (!this.#params) { this.#params = new URLSearchParams(); this.#bind(); }
    return this.#params;
  }
  toString() { return this.href; }
  toJSON() { return this.href; }
}
const { part, setPart } = URL;
delete URL.part;
delete URL.setPart;
PARTS.forEach((name, at) => {
  const set = name === "origin" ? undefined : function (value) { setPart(this, name, wellFormed(value), false); };
  Object.defineProperty(URL.prototype, name, { get() { return part(this, at); }, set, enumerable: true, configurable: true });
});
define("URLSearchParams", URLSearchParams);
define("URL", URL);
