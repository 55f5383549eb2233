/**
 * Addresses of real nodes. Each cluster has a network of its own, so all clusters use the same ones.
 *
 * ClusterIPs, nodes and pods are on one segment: whoever has a ClusterIP as its address serves it, without a kube-proxy.
 */
export const prefixLength = 16;
export const segment = `10.0.0.0/${prefixLength}`;

/** ClusterIP of the Service "kubernetes", the first of the API server's --service-cluster-ip-range. */
export const apiServerAddress = "10.0.0.1";
export const apiServerUrl = `https://${apiServerAddress}:443`;
export const dnsAddress = "10.0.0.10";
export const clusterDomain = "cluster.local";

/** So that neither nodes nor their pods leave the segment, or meet KWOK's pods. */
export const maxRealNodes = 32;

/** @param ordinal from 1 */
export const nodeAddress = (ordinal: number): string => `10.0.1.${ordinal}`;

/** The first and last address of a node's pods. */
export const podAddresses = (ordinal: number): readonly [first: string, last: string] => [
  `10.0.${16 + ordinal}.1`,
  `10.0.${16 + ordinal}.254`,
];
