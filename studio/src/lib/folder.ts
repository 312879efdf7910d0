// The pictures in what was dropped: files, and folders with all that is in them.
const PICTURES = /\.(png|jpe?g|webp)$/i;

export async function dropped(data: DataTransfer): Promise<File[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (!entries.some((entry) => entry.isDirectory)) return [...data.files];
  const found: File[] = [];
  for (const entry of entries) found.push(...(await filesOf(entry)));
  return picturesOf(found);
}

// Those of a chosen folder's files that may be pictures, in the order of their names.
export function picturesOf(files: Iterable<File>): File[] {
  const path = (file: File): string => file.webkitRelativePath || file.name;
  return [...files].filter((file) => PICTURES.test(file.name)).sort((a, b) => path(a).localeCompare(path(b)));
}

async function filesOf(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) return [await new Promise<File>((done, failed) => (entry as FileSystemFileEntry).file(done, failed))];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: File[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed)); // 100 at a time
    if (!some.length) return found;
    for (const each of some) found.push(...(await filesOf(each)));
  }
}
