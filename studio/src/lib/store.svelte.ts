// What the whole page shares: the catalogue, the models, and what was asked to be recalled into Create.
import { get, Refused, type Catalog, type Model, type PictureRecord, type Restorer } from "./api";

export type Recalled = { model: string; seed: number; knobs: { [name: string]: unknown }; condition: { [name: string]: unknown } };

class Store {
  catalog = $state<Catalog | null>(null);
  models = $state<Model[]>([]);
  restorers = $state<Restorer[]>([]);
  trouble = $state("");
  recalled = $state<Recalled | null>(null);

  async load(): Promise<void> {
    try {
      const [catalog, models, restorers] = await Promise.all([
        get<Catalog>("/api/catalog"),
        get<Model[]>("/api/models"),
        get<Restorer[]>("/api/restorers"),
      ]);
      this.catalog = catalog;
      this.models = models;
      this.restorers = restorers;
      this.trouble = "";
    } catch (error) {
      this.trouble = messageOf(error);
    }
  }

  modelsWith(verb: string): Model[] {
    return this.models.filter((model) => model.verbs.includes(verb));
  }

  // Take what a picture's record says into Create. Pictures that steered it are not in the record, and are given anew.
  recall(record: PictureRecord): boolean {
    if (typeof record.model !== "string" || typeof record.seed !== "number") return false;
    const condition = (record["condition"] ?? {}) as { [name: string]: unknown };
    const told = Object.entries(condition).filter(([, value]) => typeof value === "string" || typeof value === "number");
    this.recalled = {
      model: record.model,
      seed: record.seed,
      knobs: record.sampling ?? {},
      condition: Object.fromEntries(told),
    };
    location.hash = "#/create";
    return true;
  }
}

export const store = new Store();

export function messageOf(error: unknown): string {
  return error instanceof Refused ? error.message : `the page has a fault: ${String(error)}`;
}
