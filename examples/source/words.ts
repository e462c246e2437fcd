// Counts words: a service of two files. `solo deploy words examples/source/words.ts --include examples/source/lib/text.ts`
import { kv } from "solo";
import { split } from "./lib/text";

interface Count {
  words: number;
  longest?: string;
}

let texts = 0;

export function count(text: string): Count {
  texts += 1;
  const words = split(text);
  const longest = words.toSorted((a, b) => b.length - a.length)[0];
  return { words: words.length, longest };
}

export const seen = (): number => texts;

/** Keeps a text: durable when it has answered. */
export async function keep(name: string, text: string): Promise<void> {
  await kv.set(name, text);
}

export const kept = (name: string): Promise<string | null> => kv.get(name);

export function fail(what: string): never {
  throw new RangeError(`${what} is too much`);
}
