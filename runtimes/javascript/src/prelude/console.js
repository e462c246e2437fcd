// console: lines of the service's log.
const inspect = (value, depth = 0, seen = new Set()) => {
  switch (typeof value) {
    case "string": return depth ? JSON.stringify(value) : value;
    case "bigint": return `${value}n`;
    case "symbol": return String(value);
    case "function": return value.name ? `[Function: ${value.name}]` : "[Function]";
    case "object": break;
    default: return Object.is(value, -0) ? "-0" : String(value);
  }
  if (value === null) return "null";
  if (seen.has(value)) return "[Circular]";
  if (value instanceof Error) {
    const stack = String(value.stack ?? "").trimEnd();
    const cause = value.cause === undefined ? "" : ` [cause: ${inspect(value.cause, depth + 1, seen)}]`;
    return `${value.name}: ${value.message}${stack ? `\n${stack}` : ""}${cause}`;
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (depth > 3) return Array.isArray(value) ? "[Array]" : "[Object]";
  seen.add(value);
  const show = (inner) => inspect(inner, depth + 1, seen);
  const list = (items, open, close) => {
    const shown = items.slice(0, 100);
    if (items.length > 100) shown.push(`... ${items.length - 100} more`);
    return shown.length ? `${open} ${shown.join(", ")} ${close}` : open + close;
  };
  let text;
  if (Array.isArray(value)) text = list(value.slice(0, 101).map(show), "[", "]");
  else if (value instanceof Map) text = `Map(${value.size}) ` + list([...value].map(([k, v]) => `${show(k)} => ${show(v)}`), "{", "}");
  else if (value instanceof Set) text = `Set(${value.size}) ` + list([...value].map(show), "{", "}");
  else if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    text = `${value.constructor.name}(${value.length}) ` + list(Array.from(value.slice(0, 101), String), "[", "]");
  else if (value instanceof Promise) text = "Promise {}";
  else {
    const name = value.constructor?.name;
    const keys = Object.keys(value).map((key) => `${/^[\w$]+$/.test(key) ? key : JSON.stringify(key)}: ${show(value[key])}`);
    text = (name && name !== "Object" ? `${name} ` : "") + list(keys, "{", "}");
  }
  seen.delete(value);
  return text;
};
const format = (values) => {
  if (typeof values[0] !== "string" || !values[0].includes("%")) return values.map((value) => inspect(value)).join(" ");
  let at = 1;
  const text = values[0].replace(/%[sdifjoOc%]/g, (what) => {
    if (what === "%%") return "%";
    if (at >= values.length) return what;
    const value = values[at++];
    switch (what[1]) {
      case "s": return typeof value === "object" ? inspect(value) : String(value);
      case "d": return String(Number(value));
      case "i": return String(parseInt(value, 10));
      case "f": return String(parseFloat(value));
      case "j": return JSON.stringify(value);
      case "c": return "";
      default: return inspect(value, 1);
    }
  });
  return [text, ...values.slice(at).map((value) => inspect(value))].join(" ");
};
let indent = "";
const counts = new Map(), clocks = new Map();
const write = (level, values) => {
  const text = format(values);
  host.log(level, indent ? text.replace(/^/gm, indent) : text);
};
define("console", {
  log: (...values) => write("info", values),
  info: (...values) => write("info", values),
  debug: (...values) => write("debug", values),
  warn: (...values) => write("warn", values),
  error: (...values) => write("error", values),
  trace: (...values) => write("debug", [`${format(values)}\n${new Error().stack}`]),
  dir: (value) => write("info", [inspect(value, 1)]),
  table: (value) => write("info", [inspect(value, 1)]),
  assert: (holds, ...values) => { if (!holds) write("error", ["Assertion failed:", ...values]); },
  count: (label = "default") => { counts.set(label, (counts.get(label) ?? 0) + 1); write("info", [`${label}: ${counts.get(label)}`]); },
  countReset: (label = "default") => { counts.delete(label); },
  group: (...values) => { if (values.length) write("info", values); indent += "  "; },
  groupCollapsed: (...values) => { if (values.length) write("info", values); indent += "  "; },
  groupEnd: () => { indent = indent.slice(2); },
  time: (label = "default") => { clocks.set(label, host.monotonic()); },
  timeLog: (label = "default", ...values) => { write("info", [`${label}: ${(host.monotonic() - clocks.get(label)).toFixed(3)} ms`, ...values]); },
  timeEnd: (label = "default") => { console.timeLog(label); clocks.delete(label); },
});
