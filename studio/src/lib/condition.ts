// What a form says of the fields that steer a model, as a job takes it.
import type { Field, Model, Upload } from "./api";

export type Texts = { [field: string]: string };
export type Knobs = { [knob: string]: string | number | boolean | null };
export type Pictures = { [field: string]: Upload[] };

const PICTURES: readonly string[] = ["picture", "mask", "class map"];
export const isPicture = (field: Field): boolean => PICTURES.includes(field.kind);

// The fields that a model obeys, those that it cannot do without first.
export function fieldsOf(model: Model | undefined, fields: Field[]): Field[] {
  const needed = fields.filter((field) => model?.needs.includes(field.name));
  return [...needed, ...fields.filter((field) => model?.accepts.includes(field.name) && !needed.includes(field))];
}

export function conditionOf(fields: Field[], texts: Texts, pictures: Pictures = {}): { [field: string]: unknown } {
  const told: { [field: string]: unknown } = {};
  for (const field of fields) {
    const text = texts[field.name]?.trim();
    const given = pictures[field.name]?.[0];
    if (isPicture(field)) {
      if (given) told[field.name] = { upload: given.upload };
    } else if (text) {
      told[field.name] = field.kind === "factors" ? factorsOf(text) : text;
    }
  }
  return told;
}

// The knobs that a form turned, of those that the model has.
export function turnedOf(model: Model, knobs: Knobs): { [knob: string]: unknown } {
  const has = new Set(model.knobs.map((knob) => knob.name));
  return Object.fromEntries(Object.entries(knobs).filter(([name, value]) => value !== null && value !== "" && has.has(name)));
}

export const factorsOf = (text: string): { [name: string]: number } =>
  Object.fromEntries(text.split(",").map((part) => part.split("=")).map(([key, value]) => [(key ?? "").trim(), Number(value)]));
