// jStat has no types of its own.

declare module 'jstat' {
  const jstat: {
    jStat: {
      /** log B(a, b) */
      betaln(a: number, b: number): number;
      /** The continued fraction of the incomplete beta function at x, by Lentz's method. */
      betacf(x: number, a: number, b: number): number;
    };
  };
  export default jstat;
}
