// A picture made into what a model has learnt to be given, such as its edges.
import type { Model } from "./api";

type Ref = { upload: string } | { job: string; picture: number };

// How its data makes sources of pictures; empty where it does not, or they are layouts.
export function madeBy(model: Model): string {
  if (model.draws === "layout") return "";
  return (model.data ?? "").split("|").slice(1).join("|").trim();
}

export const isOfEdges = (model: Model): boolean => madeBy(model).startsWith("edges");

// What the service is asked for it.
export const preparing = (picture: Ref, model: Model) => ({ kind: "prepare", model: model.name, picture });
