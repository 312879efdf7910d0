// A job that is waited for.
import { follow, Refused, submit, type Job } from "./api";

// The job that was asked for, done; it throws what was wrong where it came to nothing.
export async function finished(asked: { kind: string; [key: string]: unknown }): Promise<Job> {
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
