import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

// Which sources the built page is of, so that a test without Node sees when it is stale (tests/test_studio_page.py).
function sources(): Plugin {
  const below = (folder: string): string[] =>
    readdirSync(folder)
      .sort()
      .flatMap((name) => {
        const path = join(folder, name);
        return statSync(path).isDirectory() ? below(path) : [path];
      });
  return {
    name: "sources",
    generateBundle() {
      const files = ["index.html", "package-lock.json", "package.json", "svelte.config.js", "vite.config.ts", ...below("src")];
      const hashed = files.map((path) => [
        path.replaceAll("\\", "/"),
        createHash("sha256").update(readFileSync(path)).digest("hex"),
      ]);
      this.emitFile({
        type: "asset",
        fileName: "sources.json",
        source: `${JSON.stringify(Object.fromEntries(hashed), null, 1)}\n`,
      });
    },
  };
}

// The built page lies in the package. Names without hashes: the service sends no-store, and a rebuild changes few files.
export default defineConfig({
  base: "./",
  plugins: [svelte(), sources()],
  build: {
    outDir: "../src/zeuxis/studio/page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    rollupOptions: {
      output: {
        entryFileNames: "assets/studio.js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:7864", "/v1": "http://127.0.0.1:7864" } },
});
