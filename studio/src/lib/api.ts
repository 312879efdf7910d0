// The service's own API, as src/zeuxis/studio describes it. Nothing else is ever asked.
import { placeForStream } from "./streams";

export type Knob = {
  name: string;
  type: "int" | "float" | "choice" | "switch";
  meaning: string;
  range: string;
  default: boolean | number | string | null;
  least: number | null;
  most: number | null;
  choices: string[];
};

export type Model = {
  name: string;
  path: string;
  recorded: string; // what records of its pictures call it
  sha256: string | null; // of its weights
  origin: "shipped" | "generator" | "pulled" | "run";
  system: string;
  title: string;
  family: string;
  verbs: string[];
  latents: "numbers" | "styles" | "entries" | null;
  needs: string[];
  accepts: string[];
  knobs: Knob[];
  shape: number[] | null;
  classes: string[];
  layouts: string[];
  source_shape: number[] | null;
  data: string | null;
  draws: string | null; // the field that a drawing is for it
  edits: EditMethod[];
};

export type EditMethod = { name: string; title: string; about: string; fields: string[]; knobs: string[]; other: string[]; job: "sample" | "edit" };

export type System = {
  id: string;
  title: string;
  family: string;
  year: number;
  paper: string;
  about: string;
  verbs: string[];
  needs: string[];
  accepts: string[];
  knobs: Knob[];
  learns: boolean;
  departures: string[];
  recipes: string[];
};

export type FieldKind = "class" | "text" | "picture" | "mask" | "class map" | "factors";
export type Field = { name: string; kind: FieldKind; meaning: string };
export type Catalog = { systems: System[]; fields: Field[]; problems: string[] };
export type Restorer = { name: string; task: string; about: string; here: boolean };
export type Recipe = { name: string; system: string; about: string; data: string; iterations: number | null };

export type Result = {
  recipe: string;
  system: string;
  data: string;
  metric: string;
  better: "lower" | "higher";
  value: number;
  bound: number | null;
  baseline: string | null;
  baseline_value: number | null;
  verdict: string;
  note: string;
  per_seed: { seed: number; value: number }[];
  sample_sheet: string | null;
};

export type Upload = { upload: string; url: string; width: number; height: number; record: PictureRecord | null; notes: string[] };
export type PictureRecord = { [key: string]: unknown; model?: string; seed?: number; sampling?: { [knob: string]: unknown } };

export type Made = {
  file: string;
  url: string;
  seed: number;
  width: number;
  height: number;
  record: PictureRecord;
  replay: string | null;
};

export type State = "queued" | "running" | "done" | "failed" | "cancelled";

export type Job = {
  id: string;
  kind: string;
  state: State;
  fraction: number;
  message: string;
  ahead: number;
  pictures: number;
  request: { [key: string]: unknown };
  created: number;
  error: string | null;
  result: { pictures: Made[]; files: string[]; command: string; notes: string[]; facts: { [key: string]: unknown } } | null;
};

// What was wrong, in the service's words.
export class Refused extends Error {}

// Nobody answered, or a proxy in the service's place: that may pass.
export class Away extends Refused {}
const AWAY = [502, 503, 504];
const SILENT = "the service does not answer: is zeuxis serve still running?";

// Where the page lies: a proxy may have it below a path ("/lab/zeuxis/"), and nothing else of its host is asked.
const BASE = new URL(".", document.baseURI).pathname;

// An address of the service ("/api/...") as it is below that path; others stay.
export const here = (path: string): string => (path.startsWith("/api/") && !path.startsWith(`${BASE}api/`) ? BASE + path.slice(1) : path);

// What the service says, with the addresses in it as they are below that path.
const parsed = (text: string): unknown =>
  JSON.parse(text, (key: string, value: unknown) => (key === "url" && typeof value === "string" ? here(value) : value));

export async function answered<T>(response: Response): Promise<T> {
  if (response.ok) return parsed(await response.text()) as T;
  let message = `the service answered ${response.status}`;
  try {
    message = ((await response.json()) as { error: { message: string } }).error.message;
  } catch {
    // no JSON: the status is all that is known
  }
  throw new (AWAY.includes(response.status) ? Away : Refused)(message);
}

export async function asked(path: string, how?: RequestInit): Promise<Response> {
  try {
    return await fetch(here(path), how);
  } catch {
    throw new Away(SILENT);
  }
}

export async function get<T>(path: string): Promise<T> {
  return answered<T>(await asked(path));
}

export async function post<T>(path: string, body?: unknown): Promise<T> {
  const how: RequestInit = { method: "POST" };
  if (body !== undefined) {
    how.headers = { "Content-Type": "application/json" };
    how.body = JSON.stringify(body);
  }
  return answered<T>(await asked(path, how));
}

export async function blob(path: string): Promise<Blob> {
  const answer = await asked(path);
  return answer.ok ? answer.blob() : answered<Blob>(answer); // which throws what was wrong
}

export async function gone(path: string): Promise<void> {
  const answer = await asked(path, { method: "DELETE" });
  if (!answer.ok) await answered(answer);
}

export async function upload(file: Blob): Promise<Upload> {
  const form = new FormData();
  form.append("picture", file, file instanceof File ? file.name : "drawn.png");
  return answered<Upload>(await asked("/api/uploads", { method: "POST", body: form }));
}

export const submit = (job: { kind: string; [key: string]: unknown }): Promise<Job> => post<Job>("/api/jobs", job);
export const cancel = (id: string): Promise<Job> => post<Job>(`/api/jobs/${id}/cancel`);

export const remove = (id: string): Promise<void> => gone(`/api/jobs/${id}`);
export const removeUpload = (name: string): Promise<void> => gone(`/api/uploads/${name}`);

// `away` is told why while nobody answers, and "" when somebody does again; `lost` that there is nothing left to follow.
type Told = { job: (job: Job) => void; partial?: (url: string) => void; away?: (why: string) => void; lost: (why: string) => void };
const EVERY = 500; // milliseconds between two looks at a job that has no stream
const SELDOM = 10_000; // at most, while nobody answers

// Follow a job to its end; the function that comes back stops following, and leaves the job as it is.
export function follow(id: string, told: Told): () => void {
  let left = false;
  let leave = (): void => {};
  void placeForStream().then((release) => {
    if (left) release?.();
    else leave = release ? streamed(id, told, release) : polled(id, told);
  });
  return () => {
    left = true;
    leave();
  };
}

function streamed(id: string, told: Told, release: () => void): () => void {
  let after = (): void => {};
  const events = new EventSource(here(`/api/jobs/${id}/events`));
  const close = (): void => {
    events.close();
    release();
  };
  const read = (event: Event): Job => parsed((event as MessageEvent<string>).data) as Job;
  events.addEventListener("job", (event) => told.job(read(event)));
  events.addEventListener("partial", (event) =>
    told.partial?.(`data:image/png;base64,${(JSON.parse((event as MessageEvent<string>).data) as { b64_json: string }).b64_json}`),
  );
  events.addEventListener("end", (event) => {
    close();
    told.job(read(event));
  });
  events.onopen = () => told.away?.("");
  events.onerror = () => {
    if (events.readyState !== EventSource.CLOSED) return told.away?.(SILENT); // the browser tries again
    close();
    after = polled(id, told); // which says why: another tab may have forgotten the job
  };
  return () => {
    close();
    after();
  };
}

// The same without a stream, and without unfinished pictures.
function polled(id: string, told: Told): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let left = false;
  let pause = EVERY;
  const look = async (): Promise<void> => {
    try {
      const job = await get<Job>(`/api/jobs/${id}`);
      if (left) return;
      pause = EVERY;
      told.away?.("");
      told.job(job);
      if (job.state === "queued" || job.state === "running") timer = setTimeout(() => void look(), pause);
    } catch (error) {
      if (left) return;
      if (!(error instanceof Away)) return told.lost(error instanceof Refused ? error.message : String(error));
      told.away?.(error.message);
      pause = Math.min(2 * pause, SELDOM);
      timer = setTimeout(() => void look(), pause);
    }
  };
  void look();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}
