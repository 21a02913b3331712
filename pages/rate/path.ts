// The addresses of the rating page: /rate, /rate/que_…, /rate/arena.

export const RATE = '/rate';
export const ARENA = '/rate/arena';
