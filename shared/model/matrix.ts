// What every precision does to a matrix before it is stored.

/** [rows, columns] → [columns, rows], in tiles that stay in the cache. */
export function transpose<A extends Float32Array | Int8Array>(data: A, rows: number, columns: number): A {
  const turned = new (data.constructor as new (length: number) => A)(data.length);
  const tile = 32;
  for (let top = 0; top < rows; top += tile) {
    for (let left = 0; left < columns; left += tile) {
      const bottom = Math.min(top + tile, rows);
      const right = Math.min(left + tile, columns);
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) turned[column * rows + row] = data[row * columns + column]!;
      }
    }
  }
  return turned;
}

/** The largest magnitude in data[begin, end); NaN where there is one, so that damage stays visible. */
export function maxAbs(data: Float32Array, begin: number, end: number): number {
  let largest = 0;
  for (let i = begin; i < end; i++) {
    const size = Math.abs(data[i]!);
    if (!(size <= largest)) largest = size;
  }
  return largest;
}
