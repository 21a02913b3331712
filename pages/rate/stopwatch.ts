// How long something was looked at: it runs while the page is visible.

export class Stopwatch {
  #counted: number;
  #since: number | null = null;

  constructor(seconds = 0) {
    this.#counted = seconds;
    this.#follow();
    document.addEventListener('visibilitychange', this.#follow);
  }

  read(): number {
    return this.#counted + (this.#since === null ? 0 : (performance.now() - this.#since) / 1000);
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.#follow);
    this.#counted = this.read();
    this.#since = null;
  }

  #follow = () => {
    this.#counted = this.read();
    this.#since = document.visibilityState === 'visible' ? performance.now() : null;
  };
}
