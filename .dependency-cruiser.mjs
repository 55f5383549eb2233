// The layering rule: imports point downwards only. Order from entrance to cellar.
// What the operator does (controllers) and what it tells (http) stand beside each other.
const layers = [
  "main",
  "operator",
  "controllers",
  "http",
  "scheduler",
  "resources",
  "kube",
  "runtime",
  "db",
  "domain",
  "api",
];
const folder = (name) => `^src/${name}/`;

const upwards = layers.slice(1).map((name, index) => ({
  name: `${name}-imports-downwards`,
  severity: "error",
  comment: `src/${name} must not import what stands above it`,
  from: { path: folder(name) },
  to: { path: [...layers.slice(0, index + 1).map(folder), "^src/main\\.ts$"] },
}));

export default {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    ...upwards,
    {
      name: "controllers-know-nothing-of-http",
      severity: "error",
      from: { path: folder("controllers") },
      to: { path: folder("http") },
    },
    {
      name: "controllers-share-no-kind",
      severity: "error",
      comment: "What all controllers share is beside their folders, and knows none of them",
      from: { path: "^src/controllers/[^/]+\\.ts$" },
      to: { path: "^src/controllers/[^/]+/" },
    },
    {
      name: "runtime-knows-nothing-of-rota",
      severity: "error",
      from: { path: folder("runtime") },
      to: { path: "^src/", pathNot: ["^src/runtime/"] },
    },
    {
      name: "kube-knows-nothing-of-rota",
      severity: "error",
      from: { path: folder("kube") },
      to: { path: "^src/", pathNot: ["^src/(kube|runtime)/"] },
    },
    {
      name: "client-node-for-the-kubeconfig-only",
      severity: "error",
      comment:
        "Its calls open a connection each, and its informers stop for good on one error: src/kube has both",
      from: {
        path: "^src/",
        pathNot: ["^src/kube/credentials\\.ts$", "^src/cli/connection\\.ts$"],
      },
      to: { path: "@kubernetes/client-node" },
    },
    {
      name: "domain-is-pure",
      severity: "error",
      from: { path: folder("domain") },
      to: {
        path: ["^src/", "^node:(fs|net|http|https|child_process|timers)"],
        pathNot: ["^src/(domain|api)/", "^src/errors\\.ts$"],
      },
    },
    {
      name: "settings-and-errors-are-the-floor",
      severity: "error",
      from: { path: "^src/errors\\.ts$" },
      to: { path: "^src/" },
    },
    {
      name: "cli-is-a-client",
      severity: "error",
      comment:
        "The plugin is bundled alone, and runs on users' machines: nothing of the operator comes along",
      from: { path: folder("cli") },
      to: { path: "^src/", pathNot: ["^src/(cli|api|domain|kube|runtime|errors\\.ts)"] },
    },
    {
      name: "nothing-imports-the-cli",
      severity: "error",
      from: { path: "^src/", pathNot: folder("cli") },
      to: { path: folder("cli") },
    },
    {
      name: "src-stands-alone",
      severity: "error",
      from: { path: "^src/" },
      to: { path: "^(dev|test|bench)/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { extensions: [".ts", ".js", ".mjs", ".json"] },
  },
};
