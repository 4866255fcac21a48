import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// Every URL in the build is relative, so that the page works under a sub-path.
// For work on the page: SLUICE=http://127.0.0.1:8000 npm run dev
export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: {
    outDir: 'dist/page',
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the policy allows no data: URLs of fonts
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700, // the editor, which is loaded when somebody edits
  },
  server: {
    proxy: { '/api': { target: process.env.SLUICE ?? 'http://127.0.0.1:8000', changeOrigin: false } },
  },
});
