// CommonJS: scripts that are given `require` and `module`. Each runs once, when it is first asked for.
const scripts = new Map();
const required = (path) => {
  const known = scripts.get(path);
  if (known) return known.exports;
  const module = { id: path, filename: path, loaded: false, exports: {}, children: [], paths: [] };
  scripts.set(path, module);
  try {
    switch (host.form(path)) {
      case "json": module.exports = JSON.parse(host.text(path)); break;
      case "commonjs": runScript(path, module); break;
      default: module.exports = host.namespace(path);
    }
  } catch (error) {
    scripts.delete(path);
    throw error;
  }
  module.loaded = true;
  return module.exports;
};
const runScript = (path, module) => {
  const require = (name) => required(host.required(path, String(name)));
  require.resolve = (name) => host.required(path, String(name));
  require.cache = {};
  const directory = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ".";
  host.script(path).call(module.exports, module.exports, require, module, path, directory);
};
host.require = required;
// The same as a module of the language: `default` is what it exports, and its names are the module's.
const namesOf = (path) => {
  const exported = required(path);
  const keys = exported !== null && /^(object|function)$/.test(typeof exported) ? Object.keys(exported) : [];
  const names = keys.filter((key) => key !== "default" && /^[A-Za-z_$][\w$]*$/.test(key));
  const exports = names.map((name, index) => `const _${index} = m[${JSON.stringify(name)}]; export { _${index} as ${name} };`);
  return `import { require } from "solo:commonjs"; const m = require(${JSON.stringify(path)}); export default m;${exports.join("")}`;
};
// What packages ask of node while they find out where they are.
define("process", {
  env: { NODE_ENV: "production" }, argv: [], versions: {}, version: "", platform: "solo", browser: true,
  nextTick: (work, ...values) => queueMicrotask(() => work(...values)), cwd: () => "/", emitWarning: (what) => console.warn(String(what)),
});
