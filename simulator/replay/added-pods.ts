// Pods added in a what-if: from manifests, or written out in a few words. Both become pod manifests first and are then
// read as the extender reads any pod, so that a request is refused here for the same reasons as in a cluster.

import { readFileSync } from 'node:fs';

import { parseAllDocuments } from 'yaml';

import type { PodManifest } from '../../extender/core/manifest.ts';
import { podRecord } from '../../extender/core/records.ts';
import { POD_ANNOTATIONS, POD_LABELS, type Profile } from '../../extender/core/resources.ts';
import { createManifestParsers } from '../../extender/http/wire.ts';
import { quoted, TraceFault } from '../trace/fault.ts';
import { documentFault, shown } from './list-items.ts';
import type { Candidate } from './placing.ts';

const MAX_ADDED_PODS = 1_000_000;
const MAX_FILE_CHARACTERS: number = 8 << 20;
const WORDS = [
  'gpu-mem',
  'gpu-core',
  'gpus',
  'class',
  'model',
  'cpu',
  'memory',
  'count',
  'name',
  'namespace',
  'placement',
];
const SHORT_FORM = 'such as gpu-mem=8,count=20,class=batch';

interface Template {
  readonly where: string;
  readonly manifest: PodManifest;
  readonly count: number;
}

/** Each text is `FILE`, `FILE=COUNT`, or the short form `gpu-mem=8,count=20,class=batch`. */
export function addedPods(texts: readonly string[], profile: Profile): readonly Candidate[] {
  const templates = texts.flatMap((text) =>
    /^[a-z-]{1,20}=[^/]*$/.test(text) && WORDS.includes(text.slice(0, text.indexOf('=')))
      ? [inWords(text, profile)]
      : fromFile(text),
  );
  const total = templates.reduce((sum, { count }) => sum + count, 0);
  if (total > MAX_ADDED_PODS) throw new TraceFault(`--add-pods: ${total} pods; there may be at most ${MAX_ADDED_PODS}`);
  return templates.flatMap((template, serial) => candidates(template, serial, profile));
}

function candidates({ where, manifest, count }: Template, serial: number, profile: Profile): readonly Candidate[] {
  const base = manifest.metadata?.name ?? 'pod';
  const metadata = { ...manifest.metadata, uid: 'template', name: base };
  const record = podRecord({ ...manifest, metadata }, profile);
  if (record === undefined || record.demand.kind === 'none') {
    throw new TraceFault(`--add-pods ${where}: the pod asks for no ${profile.memoryResource}; add it to the limits`);
  }
  if (record.demand.kind === 'invalid') throw new TraceFault(`--add-pods ${where}: ${record.demand.why}`);
  const { request } = record.demand;
  return Array.from({ length: count }, (_, at): Candidate => ({
    pod: {
      ...record,
      uid: `added/${serial}/${String(at).padStart(7, '0')}`,
      name: count === 1 ? base : `${base}-${String(at + 1).padStart(String(count).length, '0')}`,
      nodeName: '',
      terminal: false,
      createdSeconds: Number.MAX_SAFE_INTEGER,
      claim: { kind: 'none' },
    },
    request,
    group: 'added',
    today: undefined,
  }));
}

function inWords(text: string, profile: Profile): Template {
  const words = new Map<string, string>();
  for (const part of text.split(',')) {
    const [key = '', value = ''] = part.split('=', 2).map((each) => each.trim());
    if (!WORDS.includes(key) || value === '' || words.has(key)) {
      const what = words.has(key) ? `${key} comes twice` : `${quoted(part)} is none of ${WORDS.join(', ')}`;
      throw new TraceFault(`--add-pods ${quoted(text)}: ${what}; write key=value pairs ${SHORT_FORM}`);
    }
    words.set(key, value);
  }
  const memory = words.get('gpu-mem');
  if (memory === undefined)
    throw new TraceFault(`--add-pods ${quoted(text)}: gpu-mem is missing; write pairs ${SHORT_FORM}`);
  const limits = { [profile.memoryResource]: memory, ...pair(profile.coreResource, words.get('gpu-core')) };
  const requests = { ...pair('cpu', words.get('cpu')), ...pair('memory', words.get('memory')) };
  const manifest: PodManifest = {
    metadata: {
      name: words.get('name') ?? 'added',
      namespace: words.get('namespace') ?? 'default',
      labels: { ...pair(profile.countLabel, words.get('gpus')), ...pair(POD_LABELS.class, words.get('class')) },
      annotations: {
        ...pair(POD_ANNOTATIONS.gpuModel, words.get('model')),
        ...pair(POD_ANNOTATIONS.placement, words.get('placement')),
      },
    },
    spec: { containers: [{ name: 'main', resources: { limits, requests } }] },
  };
  return { where: quoted(text), manifest, count: countOf(words.get('count') ?? '1', text) };
}

function pair(key: string, value: string | undefined): Readonly<Record<string, string>> {
  return value === undefined ? {} : { [key]: value };
}

function countOf(text: string, whole: string): number {
  const count = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MAX_ADDED_PODS) return count;
  throw new TraceFault(`--add-pods ${quoted(whole)}: count is ${quoted(text)}; write 1 to ${MAX_ADDED_PODS}`);
}

function fromFile(text: string): readonly Template[] {
  const counted = /^(.+)=(\d{1,7})$/.exec(text);
  const file = counted?.[1] ?? text;
  const times = counted === null ? 1 : countOf(counted[2] ?? '', text);
  const objects = documentsOf(file).flatMap((value, at) => podsWithin(value, `${file}: document ${at + 1}`));
  if (objects.length === 0) {
    throw documentFault(file, '', 'there is no pod in it', `write pod manifests, or pairs ${SHORT_FORM}`);
  }
  const parsers = createManifestParsers();
  return objects.map(({ where, pod, replicas }) => {
    const parsed = parsers.pod(pod);
    if (parsed.kind === 'invalid') throw documentFault(where, '', parsed.message, 'mend the manifest');
    return { where, manifest: parsed.args, count: replicas * times };
  });
}

function documentsOf(file: string): readonly unknown[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const mend = `name a file of pod manifests, or write pairs ${SHORT_FORM}`;
    throw documentFault(file, '', `cannot be read (${reason})`, mend);
  }
  if (text.length > MAX_FILE_CHARACTERS) {
    throw documentFault(
      file,
      '',
      `it is longer than ${MAX_FILE_CHARACTERS} characters`,
      'name a file of a few manifests',
    );
  }
  return parseAllDocuments(text).map((document, at) => {
    const [error] = document.errors;
    if (error !== undefined)
      throw documentFault(file, `document ${at + 1}`, error.message.split('\n')[0] ?? '', 'mend it');
    try {
      return document.toJS({ maxAliasCount: 100 }) as unknown;
    } catch (fault) {
      const why = fault instanceof Error ? fault.message : String(fault);
      throw documentFault(file, `document ${at + 1}`, why, 'write it out without so many aliases');
    }
  });
}

interface FoundPod {
  readonly where: string;
  readonly pod: unknown;
  readonly replicas: number;
}

/** Pods, lists of them, and what makes pods from a template. */
function podsWithin(value: unknown, where: string): readonly FoundPod[] {
  if (value === null || value === undefined) return [];
  const kind = fieldOf(value, 'kind');
  const spec = fieldOf(value, 'spec');
  switch (kind) {
    case 'Pod':
      return [{ where, pod: value, replicas: 1 }];
    case 'List': {
      const items = fieldOf(value, 'items');
      const list: readonly unknown[] = Array.isArray(items) ? items : [];
      return list.flatMap((item, at) => podsWithin(item, `${where}: items[${at}]`));
    }
    case 'Deployment':
    case 'ReplicaSet':
    case 'StatefulSet':
    case 'Job': {
      const template = fieldOf(spec, 'template');
      const replicas = fieldOf(spec, kind === 'Job' ? 'parallelism' : 'replicas') ?? 1;
      if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0 || replicas > MAX_ADDED_PODS) {
        throw documentFault(where, 'spec', `asks for ${shown(replicas)} pods`, `write 0 to ${MAX_ADDED_PODS}`);
      }
      const owner = fieldOf(value, 'metadata');
      const metadata = {
        name: fieldOf(owner, 'name'),
        namespace: fieldOf(owner, 'namespace'),
        ...asObject(fieldOf(template, 'metadata')),
      };
      return [{ where, pod: { metadata, spec: fieldOf(template, 'spec') }, replicas }];
    }
    default:
      throw documentFault(
        where,
        'kind',
        `${shown(kind)} makes no pods here`,
        'use Pod, Deployment, ReplicaSet, StatefulSet, Job or a List of them',
      );
  }
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, field)
    ? (value as Readonly<Record<string, unknown>>)[field]
    : undefined;
}

function asObject(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}
