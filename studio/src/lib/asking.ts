// What is asked for by an effect, told only while that effect stands: an answer that comes after the question has changed
// (another recipe was chosen, the panel was left) is not shown in place of the newer one.
import { messageOf } from "./store.svelte";

export function asking<T>(answer: Promise<T>, told: (found: T) => void, failed: (why: string) => void): () => void {
  let over = false;
  answer.then(
    (found) => {
      if (!over) told(found);
    },
    (error: unknown) => {
      if (!over) failed(messageOf(error));
    },
  );
  return () => {
    over = true;
  };
}
