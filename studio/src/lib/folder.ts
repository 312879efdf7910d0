// The pictures in what was dropped or chosen: files, and folders with all that is in them.
const PICTURES = /\.(png|jpe?g|webp)$/i;

// The label is the folder that a picture lies in, below the one that was given.
export type Given = { file: File; label: string };

// The pictures of a file input's folder, in the order of their names.
export function ofFolder(files: Iterable<File>): Given[] {
  return [...files]
    .filter((file) => PICTURES.test(file.name))
    .sort((a, b) => a.webkitRelativePath.localeCompare(b.webkitRelativePath))
    .map((file) => {
      const parts = file.webkitRelativePath.split("/");
      return { file, label: parts.length > 2 ? (parts.at(-2) ?? "") : "" };
    });
}

// What was dropped: files as they are, and the pictures in folders. The title is the first folder's name.
export async function ofDrop(items: DataTransferItemList): Promise<{ title: string; given: Given[] }> {
  // All at once: what was dropped is gone when the event is over.
  const roots = [...items].map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const given: Given[] = [];
  for (const { entry, file } of roots) {
    if (entry?.isDirectory) given.push(...(await picturesIn(entry as FileSystemDirectoryEntry, "")));
    else if (file) given.push({ file, label: "" });
  }
  const folder = roots.find(({ entry }) => entry?.isDirectory)?.entry;
  return { title: folder?.name ?? "pictures", given };
}

async function picturesIn(folder: FileSystemDirectoryEntry, label: string): Promise<Given[]> {
  const given: Given[] = [];
  for (const entry of await entriesOf(folder)) {
    if (entry.isDirectory) given.push(...(await picturesIn(entry as FileSystemDirectoryEntry, entry.name)));
    else if (PICTURES.test(entry.name)) {
      const file = await new Promise<File>((found, lost) => (entry as FileSystemFileEntry).file(found, lost));
      given.push({ file, label });
    }
  }
  return given;
}

async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((found, lost) => reader.readEntries(found, lost)); // 100 at a time
    if (!some.length) return all.sort((a, b) => a.name.localeCompare(b.name));
    all.push(...some);
  }
}

// The files that were chosen, which the field lets go of: a browser says nothing where the same is chosen again, as after it
// was removed.
export function taken(field: HTMLInputElement): File[] {
  const files = [...(field.files ?? [])];
  field.value = "";
  return files;
}
