// One job at a time for something that is turned: while one is at work only the newest wish waits, and a result that was
// not kept is forgotten when the next one comes.
import { untrack } from "svelte";
import { cancel, follow, remove, submit, type Job } from "./api";
import { messageOf } from "./store.svelte";

export type Asked = { kind: string; [key: string]: unknown };

export class NewestJob {
  shown = $state<Job | null>(null); // the newest that is done
  trouble = $state("");
  busy = $state(false);
  took = $state(0); // milliseconds from the wish to the picture
  #waiting: Asked | null = null;
  #line = 0; // wishes of before the last end are of another
  #kept = $state<string[]>([]);
  #running: { id: string; unfollow: () => void } | null = null;

  // An effect that asks depends on what it asks for alone, and not on how the work goes.
  ask(asked: Asked): void {
    this.#waiting = asked;
    untrack(() => {
      if (!this.busy) void this.#next();
    });
  }

  // The result that is shown stays among the jobs.
  keep(): Job | null {
    if (this.shown && !this.isKept(this.shown)) this.#kept = [...this.#kept, this.shown.id];
    return this.shown;
  }

  isKept(job: Job): boolean {
    return this.#kept.includes(job.id);
  }

  // Nothing more is wished for; a result that was not kept is forgotten.
  end(): void {
    this.#line += 1;
    this.#waiting = null;
    const running = this.#running;
    this.#running = null;
    running?.unfollow();
    if (running) void this.#forget(running.id, true);
    this.busy = false;
    if (this.shown && !this.isKept(this.shown)) void this.#forget(this.shown.id);
    this.shown = null;
    this.trouble = "";
  }

  async #next(): Promise<void> {
    const asked = this.#waiting;
    if (!asked) return;
    this.#waiting = null;
    this.busy = true;
    const [begun, line] = [performance.now(), this.#line];
    try {
      const job = await submit(asked);
      if (line !== this.#line) return void this.#forget(job.id, true);
      const unfollow = follow(job.id, {
        job: (now) => this.#told(now, begun),
        lost: (why) => this.#failed(why),
      });
      this.#running = { id: job.id, unfollow };
    } catch (error) {
      if (line === this.#line) this.#failed(messageOf(error));
    }
  }

  #told(job: Job, begun: number): void {
    if (job.state === "queued" || job.state === "running") return;
    this.#running = null;
    if (job.state === "done") {
      if (this.shown && !this.isKept(this.shown)) void this.#forget(this.shown.id);
      this.shown = job;
      this.trouble = "";
      this.took = performance.now() - begun;
    } else if (job.state === "failed") {
      this.trouble = job.error ?? "the job failed";
    }
    this.busy = false;
    void this.#next();
  }

  #failed(why: string): void {
    this.trouble = why;
    this.busy = false;
    void this.#next();
  }

  async #forget(id: string, atWork = false): Promise<void> {
    try {
      if (atWork) await cancel(id);
      await remove(id);
    } catch (error) {
      this.trouble = messageOf(error);
    }
  }
}
