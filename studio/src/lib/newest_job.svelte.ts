// One job at a time for something that is drawn or turned: only the newest wish counts, and what was not kept is forgotten
// when the next picture is shown.
import { untrack } from "svelte";
import { blob, cancel, follow, Refused, remove, removeUpload, submit, type Job, type Made } from "./api";
import { messageOf } from "./store.svelte";

// `uploads` were made for this job alone, and go with it.
export type Wish = { request: { kind: string; [key: string]: unknown }; uploads?: string[] };
type Next = { make: () => Wish | Promise<Wish>; since: number };
type Shown = { job: Job; uploads: string[] };

const isGoing = (job: Job): boolean => job.state === "queued" || job.state === "running";

// The job with its pictures here: they can be looked at and saved when the service has forgotten them.
async function held(job: Job): Promise<Job> {
  if (!job.result) return job;
  const local = async (picture: Made): Promise<Made> => ({ ...picture, url: URL.createObjectURL(await blob(picture.url)) });
  return { ...job, result: { ...job.result, pictures: await Promise.all(job.result.pictures.map(local)) } };
}

const working = new Set<Promise<void>>();

function tracked(work: Promise<void>): void {
  working.add(work);
  void work.finally(() => working.delete(work));
}

// When everything that is to be forgotten is: who lists the jobs then lists none that are about to go.
export async function settled(): Promise<void> {
  while (working.size) await Promise.all(working);
}

export class NewestJob {
  job = $state.raw<Job | null>(null); // at work, or the last that was
  partial = $state("");
  trouble = $state("");
  busy = $state(false);
  took = $state(0); // milliseconds from the wish to the picture
  #made = $state.raw<Shown | null>(null); // the newest that came to something
  #kept = $state.raw<string[]>([]);
  #next: Next | null = null;
  #line = 0; // wishes of before the last end are of another
  #leave: () => void = () => {};
  readonly #cancels: boolean;

  // What is at work when another wish comes is cancelled, or else comes to its end and is shown first: so that a picture
  // follows a slider that does not rest.
  constructor({ cancels }: { cancels: boolean }) {
    this.#cancels = cancels;
  }

  get shown(): Job | null {
    return this.#made?.job ?? null;
  }

  // `make` is called when its turn has come, and not at all where there is another wish by then. An effect that asks
  // depends on what it asks for alone, and not on how the work goes.
  ask(make: Next["make"]): void {
    this.#next = { make, since: performance.now() };
    untrack(() => {
      if (!this.busy) tracked(this.#work());
      else if (this.#cancels) this.#leave();
    });
  }

  // The result that is shown stays among the jobs, with what it was made of.
  keep(): Job | null {
    const shown = this.shown;
    if (shown && !this.isKept(shown)) this.#kept = [...this.#kept, shown.id];
    return shown;
  }

  isKept(job: Job): boolean {
    return this.#kept.includes(job.id);
  }

  // Nothing more is wished for; a result that was not kept is forgotten.
  end(): void {
    this.#line += 1;
    this.#next = null;
    this.#leave();
    this.#show(null);
    this.busy = false;
    this.job = null;
    this.partial = this.trouble = "";
  }

  async #work(): Promise<void> {
    const line = this.#line;
    const isOld = (): boolean => line !== this.#line || (this.#cancels && this.#next !== null);
    this.busy = true;
    while (line === this.#line && this.#next) {
      const { make, since } = this.#next;
      this.#next = null;
      this.partial = "";
      let job: Job | null = null;
      let uploads: string[] = [];
      let trouble = "";
      try {
        const wish = await make();
        uploads = wish.uploads ?? [];
        if (!isOld()) job = await submit(wish.request);
        if (job) job = await this.#followed(job, isOld);
        if (job?.state === "done") job = await held(job);
        if (job?.state === "failed") trouble = job.error ?? "the job failed";
      } catch (error) {
        trouble = messageOf(error);
      }
      const isOurs = line === this.#line;
      if (isOurs) this.trouble = trouble;
      if (isOurs && job?.state === "done" && !trouble) {
        this.#show({ job, uploads });
        this.took = performance.now() - since;
      } else tracked(this.#forget(job, uploads));
    }
    if (line === this.#line) this.busy = false;
  }

  // The job as it ended, or as it was when it was not wanted any more.
  #followed(begun: Job, isOld: () => boolean): Promise<Job> {
    return new Promise((resolve, reject) => {
      if (isOld()) return resolve(begun);
      let last = (this.job = begun);
      const unfollow = follow(begun.id, {
        job: (now) => {
          last = this.job = now;
          if (!isGoing(now)) this.#leave();
        },
        partial: (url) => (this.partial = url),
        away: (why) => (this.trouble = why),
        lost: (why) => reject(new Refused(why)),
      });
      this.#leave = () => {
        this.#leave = () => {};
        unfollow();
        resolve(last);
      };
    });
  }

  #show(made: Shown | null): void {
    const before = this.#made;
    this.#made = made;
    if (before && !this.isKept(before.job)) tracked(this.#forget(before.job, before.uploads));
  }

  async #forget(job: Job | null, uploads: string[]): Promise<void> {
    job?.result?.pictures.forEach((picture) => URL.revokeObjectURL(picture.url));
    try {
      if (job && isGoing(job)) await cancel(job.id);
      if (job) await remove(job.id);
      for (const name of uploads) await removeUpload(name);
    } catch (error) {
      this.trouble = messageOf(error);
    }
  }
}
