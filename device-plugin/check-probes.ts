// How `--check` looks at a real node: files, sockets, GPUs and the API server. Reads only; every probe ends in bounded time
// and tells what it met instead of throwing, except where its type says that it rejects.

import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { messageOf } from '../extender/kube/kube-api.ts';
import type { FileText } from './cdi-support.ts';
import type { CheckProbes } from './check.ts';
import type { FolderFacts, GpuFacts, SocketFacts } from './check-findings.ts';
import { chooseInventory } from './inventory/choose.ts';
import type { ChoiceOptions } from './inventory/choose.ts';
import type { KubeCredentials } from './kube/credentials.ts';
import { createRestClient } from './kube/rest.ts';
import { openPodResources } from './kubelet/pod-resources.ts';
import { mpsDaemon } from './mps/control.ts';

export interface ProbeOptions {
  /** Throws a sentence where there are none. */
  readonly credentials: () => KubeCredentials;
  readonly userAgent: string;
  readonly inventory?: ChoiceOptions;
}

const SOCKET_MILLIS = 2_000;
const POD_RESOURCES_MILLIS = 5_000;

export function systemProbes(options: ProbeOptions): CheckProbes {
  return {
    gpus: (choice) => probeGpus(choice, options.inventory ?? {}),
    folder: probeFolder,
    socket: probeSocket,
    podResources: probePodResources,
    mps: (pipeDirectory) => mpsDaemon(pipeDirectory).look(),
    text: probeText,
    apiServer() {
      const credentials = options.credentials();
      return { server: credentials.server.origin, api: createRestClient(credentials, options.userAgent) };
    },
  };
}

async function probeGpus(choice: string, options: ChoiceOptions): Promise<GpuFacts> {
  try {
    const { source, passedOver } = await chooseInventory(choice, options);
    try {
      return { kind: 'read', reading: await source.read(), passedOver };
    } finally {
      await source.close();
    }
  } catch (error) {
    return { kind: 'none', why: messageOf(error) };
  }
}

export async function probeFolder(path: string): Promise<FolderFacts> {
  try {
    if (!(await stat(path)).isDirectory()) return { kind: 'not-a-folder' };
  } catch (error) {
    return { kind: isDenied(error) ? 'denied' : 'missing' };
  }
  if (!(await mayAccess(path, constants.R_OK | constants.X_OK))) return { kind: 'denied' };
  return { kind: (await mayAccess(path, constants.W_OK)) ? 'writable' : 'readonly' };
}

async function mayAccess(path: string, mode: number): Promise<boolean> {
  try {
    await access(path, mode);
    return true;
  } catch {
    return false; // That it may not be is the answer.
  }
}

export function probeSocket(path: string): Promise<SocketFacts> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (kind: SocketFacts['kind']): void => {
      socket.destroy();
      resolve({ kind });
    };
    socket.setTimeout(SOCKET_MILLIS, () => end('silent'));
    socket.once('connect', () => end('answers'));
    socket.once('error', (error) => {
      if (isDenied(error)) end('denied');
      else end(codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR' ? 'missing' : 'silent');
    });
  });
}

async function probePodResources(path: string): Promise<number> {
  const reader = openPodResources({ socketPath: path });
  try {
    return (await reader.list(POD_RESOURCES_MILLIS)).length;
  } finally {
    reader.close();
  }
}

export async function probeText(path: string): Promise<FileText> {
  try {
    return { kind: 'text', text: await readFile(path, 'utf8') };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { kind: 'missing' };
    return { kind: 'unreadable', why: `${path} cannot be read (${codeOf(error) ?? messageOf(error)})` };
  }
}

function isDenied(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'EACCES' || code === 'EPERM';
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
