// Text to HTML, by a package of npm.
import { marked } from "marked";

export const render = (text: string): string => marked.parse(text, { async: false });
