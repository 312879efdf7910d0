// Jobs of which only the newest matters: while one is at work another takes its place, and what is older is cancelled.
import { cancel, follow, submit, type Job } from "./api";
import { messageOf } from "./store.svelte";

type Asked = { kind: string; [key: string]: unknown };
const going = (job: Job): boolean => job.state === "queued" || job.state === "running";

export class Latest {
  job = $state.raw<Job | null>(null); // the newest
  shown = $state.raw<Job | null>(null); // the newest that came to something
  partial = $state("");
  trouble = $state("");
  waited = $state<number | null>(null); // milliseconds from asking to the picture

  private next: { make: () => Promise<Asked>; since: number } | null = null;
  private busy = false;
  private leave: () => void = () => {};

  // `make` is called when its turn has come, and not at all where another has been asked for by then.
  ask(make: () => Promise<Asked>): void {
    this.next = { make, since: performance.now() };
    this.stop();
    if (!this.busy) void this.work();
  }

  // End what is at work, and follow it no more.
  stop(): void {
    const job = this.job;
    if (job && going(job)) void cancel(job.id).catch((error: unknown) => (this.trouble = messageOf(error)));
    this.leave();
  }

  private async work(): Promise<void> {
    this.busy = true;
    while (this.next) {
      const { make, since } = this.next;
      this.next = null;
      this.trouble = "";
      try {
        const asked = await make();
        if (this.next) continue;
        this.job = await submit(asked);
        await this.ended(this.job.id);
        if (this.job.state === "failed") this.trouble = this.job.error ?? "the job failed";
        if (this.job.state === "done") {
          this.shown = this.job;
          this.waited = Math.round(performance.now() - since);
        }
      } catch (error) {
        this.trouble = messageOf(error);
      }
    }
    this.busy = false;
  }

  private async ended(id: string): Promise<void> {
    this.partial = "";
    await new Promise<void>((resolve) => {
      const unfollow = follow(id, {
        job: (now) => {
          this.job = now;
          if (!going(now)) this.leave();
        },
        partial: (url) => (this.partial = url),
        lost: (why) => {
          this.trouble = why;
          this.leave();
        },
      });
      this.leave = () => {
        unfollow();
        this.leave = () => {};
        resolve();
      };
      if (this.next) this.leave(); // another was asked for while this one was submitted
    });
    if (this.next && this.job && going(this.job)) await cancel(id);
  }
}
