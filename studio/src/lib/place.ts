// The address within the page: #/panel/part. Somebody may have typed it, or cut it off.
export function partOfAddress(): string {
  const part = location.hash.split("/")[2] ?? "";
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a percent sign that begins no code
  }
}
