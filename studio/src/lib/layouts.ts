// The classes of the layouts that a model obeys, as the service tells them of a model that it has loaded.
import type { Field, Model } from "./api";
import { passing } from "./finished";

export type LayoutClass = { number: number; name: string; colour: string };

export const layoutClasses = (model: Model): Promise<LayoutClass[]> =>
  passing({ kind: "describe", model: model.name }, (job) => (job.result?.facts["layouts"] ?? []) as LayoutClass[]);

// Whether a field is painted in the classes of the model, where its data name them.
export const isPainted = (field: Field, model: Model): boolean => field.kind === "class map" && model.layouts.length > 0;
