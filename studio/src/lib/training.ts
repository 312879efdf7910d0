// What the service tells of trainings: runs, their curves, data sets, exercises.
import { answered, asked, gone, get, post, type Job } from "./api";
import type { Given } from "./folder";

export type Run = {
  name: string;
  recipe: string;
  system: string;
  data: string;
  done: number;
  iterations: number | null;
  minutes: number | null;
  seconds: number;
  training: boolean;
  finished: boolean;
  model: boolean;
  claims: boolean;
  job: string | null;
  command: string;
};

export type Preview = { file: string; url: string; iteration: number };
export type Answer = "yes" | "no" | "worse again" | "not known yet" | "not measured";
export type RunDetail = Run & {
  about: string;
  columns: string[];
  previews: Preview[];
  events: [number, string][];
  learning: { answer: Answer; reason: string };
};
export type Point = [number, number];
export type Curves = { [name: string]: Point[] };
export type RecipeKey = { name: string; value: boolean | number | string | null; meaning: string };
export type Data = { name: string; title: string; provides: string[]; pictures: number | null; here: boolean };
export type Dataset = {
  name: string;
  title: string;
  pictures: number;
  bytes: number;
  labels: { [label: string]: number };
};
export type Finding = { name: string; evidence: string; mend: string };
export type Expected = {
  metric: string;
  better: "lower" | "higher";
  value: number;
  least: number;
  most: number;
  seeds: number;
  baseline: string | null;
  baseline_value: number | null;
};
export type Exercise = {
  recipe: string;
  kind: "figure" | "knob";
  text: string;
  iterations: number | null;
  data: string;
  lacks: string[];
  expected: Expected | null;
};

export type Removed = { name: string; kept: string; back: string };

export const runs = (): Promise<Run[]> => get<Run[]>("/api/runs");
export const run = (name: string): Promise<RunDetail> => get<RunDetail>(`/api/runs/${encodeURIComponent(name)}`);
export const curves = async (name: string): Promise<Curves> =>
  (await get<{ curves: Curves }>(`/api/runs/${encodeURIComponent(name)}/curves`)).curves;
export const layAside = async (name: string): Promise<Removed> =>
  answered<Removed>(await asked(`/api/runs/${encodeURIComponent(name)}`, { method: "DELETE" }));
export const trainings = (): Promise<Job[]> => get<Job[]>("/api/jobs?n=50&kind=train");
export const resume = (id: string): Promise<Job> => post<Job>(`/api/jobs/${id}/resume`);
export const folderOf = (job: Job): string => String(job.request["folder"] ?? "");

export const iterations = (n: number): string => `${n.toLocaleString("en")} iteration${n === 1 ? "" : "s"}`;

// Look now, and again every so many milliseconds; the function that comes back ends it.
export function repeatedly(look: () => Promise<void>, every: number): () => void {
  void look();
  const timer = setInterval(() => void look(), every);
  return () => clearInterval(timer);
}

// -- data sets ---------------------------------------------------------------------------------------

const BATCH = 16; // pictures of a request
const MOST = 32 << 20; // bytes of a request, half of what is taken

export const makeDataset = (title: string): Promise<Dataset> => post<Dataset>("/api/datasets", { title });
export const removeDataset = (name: string): Promise<void> => gone(`/api/datasets/${name}`);

async function add(name: string, batch: Given[]): Promise<{ dataset: Dataset; refused: { [place: string]: string } }> {
  const form = new FormData();
  for (const { file } of batch) form.append("pictures", file, file.name);
  form.append("label", batch[0]?.label ?? "");
  return answered(await asked(`/api/datasets/${name}/pictures`, { method: "POST", body: form }));
}

// Give pictures in batches of one label; what is not taken is told of by its name and why.
export async function fill(
  name: string,
  all: Given[],
  told: (done: number, dataset: Dataset | null, refused: string[]) => void,
): Promise<void> {
  const labels = [...new Set(all.map((one) => one.label))];
  let done = 0;
  for (const label of labels) {
    const rest = all.filter((one) => one.label === label);
    while (rest.length) {
      const batch = [rest.shift() as Given];
      let bytes = batch[0]!.file.size;
      while (rest.length && batch.length < BATCH && bytes + rest[0]!.file.size <= MOST) {
        bytes += rest[0]!.file.size;
        batch.push(rest.shift() as Given);
      }
      const answer = await add(name, batch);
      done += batch.length;
      const why = Object.entries(answer.refused).map(([k, reason]) => `${batch[Number(k)]?.file.name}: ${reason}`);
      told(done, answer.dataset, why);
    }
  }
}
