// A job that is waited for.
import { follow, Refused, remove, submit, type Job } from "./api";

type Asked = { kind: string; [key: string]: unknown };

// The job that was asked for, done; it throws what was wrong where it came to nothing.
export async function finished(asked: Asked): Promise<Job> {
  const begun = await submit(asked);
  return new Promise((resolve, reject) => {
    follow(begun.id, {
      job: (now) => {
        if (now.state === "done") resolve(now);
        else if (now.state === "failed") reject(new Refused(now.error ?? "the job failed"));
        else if (now.state === "cancelled") reject(new Refused("it was stopped"));
      },
      lost: (why) => reject(new Refused(why)),
    });
  });
}

// The same where only `use` is made of what it found: then the job is forgotten.
export async function passing<T>(asked: Asked, use: (job: Job) => T | Promise<T>): Promise<T> {
  const job = await finished(asked);
  try {
    return await use(job);
  } finally {
    await remove(job.id);
  }
}
