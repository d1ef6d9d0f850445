// The development build of React: only there StrictMode runs effects twice.
export default {
  base: "/app/",
  mode: "development",
  define: { "process.env.NODE_ENV": '"development"' },
  esbuild: { jsx: "automatic" },
  build: { outDir: "dist", modulePreload: false },
};
