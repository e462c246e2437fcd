// Makes a component of one JavaScript module: node componentize.mjs SOURCE WIT WORLD OUT
//
// Called by `cargo xtask guests`. HTTP is left out of the engine: these guests never fetch, and an
// import that is not there needs no grant.
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';
import { splicer } from './node_modules/@bytecodealliance/componentize-js/lib/spidermonkey-embedding-splicer.js';

const [sourcePath, witPath, worldName, out] = process.argv.slice(2);
if (out === undefined) {
  console.error('usage: node componentize.mjs SOURCE WIT WORLD OUT');
  process.exit(2);
}

// componentize-js 0.23 makes components that trap on a negative s64 (bytecodealliance/ComponentizeJS
// issue 343): its bindings hand over a signed BigInt where its engine takes only unsigned ones. Both
// are the same 64 bits, so the bindings are changed to hand over the unsigned form.
const SIGNED = 'return BigInt.asIntN(64, converted);';
const spliceBindings = splicer.spliceBindings;
splicer.spliceBindings = (...args) => {
  const spliced = spliceBindings(...args);
  if (spliced.jsBindings.includes('function toInt64') && !spliced.jsBindings.includes(SIGNED)) {
    throw new Error('the bindings look different: is ComponentizeJS issue 343 fixed?');
  }
  spliced.jsBindings = spliced.jsBindings.replace(SIGNED, SIGNED.replace('asIntN', 'asUintN'));
  return spliced;
};

const { component } = await componentize({
  sourcePath,
  witPath,
  worldName,
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile(out, component);
