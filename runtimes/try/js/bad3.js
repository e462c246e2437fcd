const a = undefined;
export const f = a.b.c;
