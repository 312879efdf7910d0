// What the whole page shares: the catalogue, the models, and what was asked to be recalled into Create.
import { get, Refused, type Catalog, type Model, type PictureRecord, type Restorer } from "./api";

export type Recalled = { model: string; seed: number; size: string; knobs: { [name: string]: unknown }; texts: { [field: string]: string } };

class Store {
  catalog = $state<Catalog | null>(null);
  models = $state<Model[]>([]);
  restorers = $state<Restorer[]>([]);
  trouble = $state("");
  recalled = $state<Recalled | null>(null);

  #loads = 0;

  // What was asked for before the newest time is not shown after it.
  async load(): Promise<void> {
    const mine = ++this.#loads;
    try {
      const [catalog, models, restorers] = await Promise.all([
        get<Catalog>("/api/catalog"),
        get<Model[]>("/api/models"),
        get<Restorer[]>("/api/restorers"),
      ]);
      if (mine !== this.#loads) return;
      this.catalog = catalog;
      this.models = models;
      this.restorers = restorers;
      this.trouble = "";
    } catch (error) {
      if (mine === this.#loads) this.trouble = messageOf(error);
    }
  }

  modelsWith(verb: string): Model[] {
    return this.models.filter((model) => model.verbs.includes(verb));
  }

  // Take what a picture's record says into Create; what was wrong, or nothing. The record names a model as it was loaded:
  // by its name, or by the path of its run; one that was moved since is known by its weights. Pictures that steered it are
  // not in the record, and are given anew.
  recall(record: PictureRecord): string {
    if (typeof record.model !== "string" || typeof record.seed !== "number") return "its record does not say how it was drawn";
    const drawing = this.modelsWith("sample");
    const model =
      drawing.find((one) => [one.name, one.path, one.recorded].includes(record.model!)) ??
      drawing.find((one) => one.sha256 !== null && one.sha256 === record["weights_sha256"]);
    if (!model) return `it was made by ${record.model}, which is no model here that draws`;
    if (!Number.isSafeInteger(record.seed)) return "its seed is larger than browsers can hold: zeuxis sample --replay draws it";
    if (record["latent"] || record["prior"] || record["added"]) return "it was not drawn by that model alone: zeuxis info tells how";
    const condition = (record["condition"] ?? {}) as { [name: string]: unknown };
    const told = Object.entries(condition).flatMap(([name, value]) => {
      const text = textOf(value);
      return text === null ? [] : [[name, text] as const];
    });
    const size = record["size"] as [number, number] | undefined; // height and width, where they are not the model's own
    this.recalled = {
      model: model.name,
      seed: record.seed,
      size: size ? `${size[1]}x${size[0]}` : "",
      knobs: record.sampling ?? {},
      texts: Object.fromEntries(told),
    };
    location.hash = "#/create";
    return "";
  }
}

export const store = new Store();

// What a form holds for a value of a condition: a text, a class, a number for each factor; null of pictures.
function textOf(value: unknown): string | null {
  if (typeof value === "string" || typeof value === "number") return String(value);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const factors = Object.entries(value);
  return factors.every(([, one]) => typeof one === "number") ? factors.map(([name, one]) => `${name}=${one}`).join(", ") : null;
}

export function messageOf(error: unknown): string {
  return error instanceof Refused ? error.message : `the page has a fault: ${String(error)}`;
}
