// Applies YAML manifests to the API server, as `kubectl apply` would for a first installation: creates each object,
// or merges into the one that is there. Finds the URL of a kind by discovery. Order is the file's order.

import { parseAllDocuments } from 'yaml';

import type { ApiClient, ApiObject } from './api.ts';
import { ApiError } from './api.ts';

interface ResourceType {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

type ResourceTypes = ApiObject & { readonly resources: readonly ResourceType[] };

/** Objects of every document in the text; empty documents and the items of a List count one by one. */
export async function applyManifests(api: ApiClient, text: string): Promise<void> {
  for (const document of parseAllDocuments(text)) {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const object = document.toJS() as (ApiObject & { readonly items?: readonly ApiObject[] }) | null;
    if (object === null) continue;
    for (const item of object.kind === 'List' ? (object.items ?? []) : [object]) await applyObject(api, item);
  }
}

async function applyObject(api: ApiClient, object: ApiObject): Promise<void> {
  const collection = await collectionPath(api, object);
  try {
    await api.create(collection, object);
  } catch (cause) {
    if (!(cause instanceof ApiError && cause.status === 409)) throw cause;
    await api.mergePatch(`${collection}/${object.metadata?.name ?? ''}`, object);
  }
}

async function collectionPath(api: ApiClient, object: ApiObject): Promise<string> {
  const { apiVersion = '', kind = '' } = object;
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const { resources } = await api.get<ResourceTypes>(root);
  const type = resources.find((resource) => resource.kind === kind && !resource.name.includes('/'));
  if (type === undefined) throw new Error(`the API server has no ${kind} in ${apiVersion}`);
  return type.namespaced
    ? `${root}/namespaces/${object.metadata?.namespace ?? 'default'}/${type.name}`
    : `${root}/${type.name}`;
}
