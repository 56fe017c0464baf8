// gpushare's ConfigMap `unhealthy-gpu-<node>` with key `gpus`: comma separated GPU indices.

import type { ConfigMapManifest } from '../core/manifest.ts';
import { GPUSHARE_CONFIGMAP_PREFIX } from '../core/resources.ts';
import type { UnhealthyList } from './reconcile.ts';

/** The list a ConfigMap carries, or undefined for any other ConfigMap. Entries that are no index are ignored. */
export function unhealthyList(configMap: ConfigMapManifest): UnhealthyList | undefined {
  const name = configMap.metadata?.name ?? '';
  if (!name.startsWith(GPUSHARE_CONFIGMAP_PREFIX)) return undefined;
  const entries = (configMap.data?.['gpus'] ?? '').split(',').map((entry) => entry.trim());
  const indices = new Set(entries.filter((entry) => /^\d{1,4}$/.test(entry)).map(Number));
  return { nodeName: name.slice(GPUSHARE_CONFIGMAP_PREFIX.length), indices };
}
