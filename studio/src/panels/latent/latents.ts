// What the tools of the latent panel share: where a latent comes from, and how that is asked for.
import type { Field, Model, Upload } from "../../lib/api";

// A latent that is drawn from a seed, told what the model obeys, or that of a picture.
export type Point = { seed: number; told: { [field: string]: string }; given: Upload[] };

export type KnobValues = { [knob: string]: string | number | boolean | null };

export type Tool = { model: Model; told: Field[]; knobs: KnobValues };

export const draws = (model: Model): boolean => model.verbs.includes("draw_latents");
export const encodes = (model: Model): boolean => model.verbs.includes("encode");
export const newSeed = (): number => Math.floor(Math.random() * 2 ** 31);
export const newPoint = (seed = newSeed()): Point => ({ seed, told: {}, given: [] });

export const isPicture = (point: Point, model: Model): boolean =>
  encodes(model) && (point.given.length > 0 || !draws(model));
export const isReady = (point: Point, model: Model): boolean => !isPicture(point, model) || point.given.length > 0;
export const refs = (points: Point[]): { upload: string }[] =>
  points.flatMap((point) => point.given.slice(0, 1).map((one) => ({ upload: one.upload })));

// Knobs that were turned, where something is drawn.
export function turned(tool: Tool, drawn: boolean): { [knob: string]: unknown } {
  if (!drawn) return {};
  const own = Object.entries(tool.knobs).filter(
    ([name, value]) => value !== null && value !== "" && tool.model.knobs.some((knob) => knob.name === name),
  );
  return Object.fromEntries(own);
}

// What points that are drawn are told: one value for each of them. Raises what is missing, in words.
export function condition(tool: Tool, points: Point[]): { [field: string]: unknown } {
  const found: { [field: string]: unknown } = {};
  for (const field of tool.told) {
    const values = points.map((point) => point.told[field.name] ?? "");
    if (values.every((value) => value === "")) continue;
    if (values.some((value) => value === "")) throw new Missing(`${field.name}: choose one for each picture, or for none`);
    found[field.name] = values.length === 1 ? values[0] : values;
  }
  return found;
}

export class Missing extends Error {}
