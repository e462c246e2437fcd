// A calculator in JavaScript, in the world of the Rust guest `calculator` (its WIT is there), with
// the same behaviour: one test serves both.

export const ops = {
  add(a, b) {
    return (a + b) | 0;
  },

  divide(a, b) {
    // A result's error: what is thrown as a string reaches the caller as the error text.
    if (b === 0) throw 'division by zero';
    return a / b;
  },

  // `values` is a BigInt64Array.
  sum(values) {
    let sum = 0n;
    for (const value of values) sum = BigInt.asIntN(64, sum + value);
    return sum;
  },

  describe(shape) {
    switch (shape.tag) {
      case 'dot':
        return 'a dot';
      case 'circle': {
        const radius = shape.val;
        return `a circle of radius ${radius} and area ${(Math.PI * radius * radius).toFixed(2)}`;
      }
      case 'rectangle': {
        const { width, height } = shape.val;
        return `a rectangle of ${width} by ${height} and area ${(width * height).toFixed(2)}`;
      }
      case 'polygon':
        return `a polygon of ${shape.val.length} corners`;
    }
  },

  statistics(values) {
    const count = values.length;
    if (count === 0) return { mean: 0, min: 0, max: 0, count };
    let [total, min, max] = [0, Infinity, -Infinity];
    for (const value of values) {
      total += value;
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
    return { mean: total / count, min, max, count };
  },
};

export function about() {
  return 'calculator 0.1.0 (JavaScript)';
}
