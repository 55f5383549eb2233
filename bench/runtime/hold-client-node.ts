/** hold-client-node.ts KUBECONFIG OBJECTS: reads the whole collection with client-node's informer and holds it. */
import { CustomObjectsApi, KubeConfig, makeInformer } from "@kubernetes/client-node";
import { reportHolding } from "./hold-report.ts";
import { benchJobs, benchNamespace } from "./objects.ts";

const [kubeconfig = "", objects = "0"] = process.argv.slice(2);

async function hold(): Promise<() => number> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = config.makeApiClient(CustomObjectsApi);
  const { group, version, plural } = benchJobs;
  const namespace = benchNamespace;
  const informer = makeInformer(
    config,
    `/apis/${group}/${version}/namespaces/${namespace}/${plural}`,
    () => api.listNamespacedCustomObject({ group, version, plural, namespace }),
  );
  await informer.start();
  return () => informer.list().length;
}

await reportHolding(Number(objects), hold);
