// What a form holds, kept while its panel is away and when the page is read again, for as long as the tab is open.
export function kept<T extends object>(name: string, initial: T): T {
  const key = `zeuxis ${name}`;
  let before: Partial<T> = {};
  try {
    before = JSON.parse(sessionStorage.getItem(key) ?? "{}") as Partial<T>;
  } catch {
    // damaged, or the browser keeps nothing for this page: the form begins as it is
  }
  const form = $state<T>({ ...initial, ...before });
  $effect(() => {
    try {
      sessionStorage.setItem(key, JSON.stringify(form));
    } catch {
      // no room, or not allowed: then it is not kept
    }
  });
  return form;
}
