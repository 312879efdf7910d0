// Jobs by their ids, those that are still there.
import { get, type Job } from "./api";

export async function thereOf(ids: string[]): Promise<Map<string, Job>> {
  const found = await Promise.allSettled(ids.map((id) => get<Job>(`/api/jobs/${id}`)));
  return new Map(found.flatMap((one) => (one.status === "fulfilled" ? [[one.value.id, one.value] as const] : [])));
}
