// How a stroke becomes pixels, smooth or of its very colour, as masks and layouts must be; and pixels a file.
export type Point = [number, number];

export function line(
  context: CanvasRenderingContext2D,
  from: Point,
  to: Point,
  size: number,
  colour: string,
  smooth: boolean,
): void {
  if (smooth) {
    context.strokeStyle = colour;
    context.lineWidth = size;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0] + (from === to ? 0.01 : 0), to[1]); // a line of no length is not drawn
    context.stroke();
    return;
  }
  context.fillStyle = colour;
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(1, size / 4)));
  for (let k = 0; k <= steps; k += 1) {
    const share = k / steps;
    disc(context, from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]), size / 2);
  }
}

// A disc of whole pixels, row by row: a path's edge would be mixed with what is below it.
function disc(context: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  const reach = Math.max(0.5, radius);
  for (let row = Math.ceil(y - reach - 0.5); row + 0.5 <= y + reach; row += 1) {
    const half = Math.sqrt(Math.max(0, reach ** 2 - (row + 0.5 - y) ** 2));
    const left = Math.round(x - half);
    context.fillRect(left, row, Math.max(1, Math.round(x + half) - left), 1);
  }
}

// Everything of one colour around a point, in another: rows of pixels, and those above and below them. No colour clears.
export function flood(context: CanvasRenderingContext2D, at: Point, colour: string | null): void {
  const { width, height } = context.canvas;
  const [x, y] = [Math.floor(at[0]), Math.floor(at[1])];
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  const image = context.getImageData(0, 0, width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const [from, to] = [pixels[y * width + x]!, colour === null ? 0 : packed(colour)];
  if (from === to) return;
  const waiting: Point[] = [[x, y]];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const row = next[1] * width;
    let left = next[0];
    if (pixels[row + left] !== from) continue;
    while (left > 0 && pixels[row + left - 1] === from) left -= 1;
    for (let k = left; k < width && pixels[row + k] === from; k += 1) {
      pixels[row + k] = to;
      for (const other of [next[1] - 1, next[1] + 1]) {
        const begins = k === left || pixels[other * width + k - 1] !== from;
        if (other >= 0 && other < height && pixels[other * width + k] === from && begins) waiting.push([k, other]);
      }
    }
  }
  context.putImageData(image, 0, 0);
}

// ``#rrggbb``, opaque, as four bytes of a canvas are one number.
function packed(colour: string): number {
  const bytes = new Uint8Array([...[1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)), 255]);
  return new Uint32Array(bytes.buffer)[0]!;
}

// Coded here and now: toBlob waits until the browser is idle, which takes it up to a second while somebody draws.
export function pngOf(canvas: HTMLCanvasElement): Blob {
  const coded = atob(canvas.toDataURL("image/png").split(",")[1] ?? "");
  return new Blob([Uint8Array.from(coded, (one) => one.charCodeAt(0))], { type: "image/png" });
}
