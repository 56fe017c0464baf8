// The linear program behind the bounds: any placement of the pods on the nodes, by any policy, with all knowledge and free
// to refuse, satisfies it, so what it can reach at most no policy can exceed. It keeps apart only node shapes, not nodes.
//
//   maximise   Σ milli of a × x[a,s]                         placed milli-GPU
//   x[a,s]     pods of class a on nodes of shape s, where an empty node of s can host one
//   y[s,v,w]   on GPUs of shape s: sharing pods of size w put on top of v milli
//
//   demand     Σ_s x[a,s] ≤ pods of a                        for each class
//   CPU        Σ_a cpu of a × x[a,s] ≤ CPU of all nodes of s for each shape; memory alike
//   sizes      Σ_a of size w x[a,s] ≤ Σ_v y[s,v,w]           every sharing pod lies on some GPU
//   filling    Σ_w y[s,v,w] ≤ Σ_w y[s,v−w,w]                 v milli are reached before anything is put on top
//   volume     Σ_a sharing milli of a × x[a,s] ≤ 1000 × Σ_w y[s,0,w]
//   GPUs       Σ_w y[s,0,w] + Σ_a whole k of a × x[a,s] ≤ GPUs of s
//   groups     Σ_a ⌊k of a / k⌋ × x[a,s] ≤ nodes × ⌊GPUs / k⌋ for k ≥ 2: GPUs of a pod are on one node
//
// Sizes w are exact unless there are so many that the program would not end; then they are cut to a grid, which can only
// raise the optimum. CPU is in cores, memory in GiB and gains in GPUs, so that the numbers are of similar size.

import { MILLI_PER_GPU, milliOf } from '../workload.ts';
import type { PodRequest } from '../../extender/core/model.ts';
import { canHost, type NodeShape, type PodClass } from './demand.ts';
import { LinearProgram, type Term, type Variable } from './linear-program.ts';
import { gridFor, sharingGraph } from './sharing-graph.ts';

const MILLI_PER_CORE = 1000;
const MIB_PER_GIB = 1024;
/** Where no class asks for anything that could run out. */
const MOST_SHARE = 1e6;

/** What is asked of the placement. */
export type Goal =
  /** The most milli-GPU; any pod may be refused. */
  | 'most placed'
  /** The same, but every CPU-only pod that some node can host is placed. */
  | 'most placed, all CPU-only pods'
  /** The most of the whole mix: of every class that some node can host the same share is placed. */
  | 'most of the mix';

/** Pods of one class on nodes of one shape. */
interface Placed {
  readonly request: PodRequest;
  readonly variable: Variable;
}

/** The program's optimum is in GPUs; of "most of the mix" it is the share placed of every class (1 = all pods once). */
export function formulate(shapes: readonly NodeShape[], classes: readonly PodClass[], goal: Goal): LinearProgram {
  const program = new LinearProgram();
  const isMix = goal === 'most of the mix';
  const mostShare = largestShare(shapes, classes);
  const share = isMix ? program.variable(1, mostShare) : undefined;
  const onShape = shapes.map((): Placed[] => []);
  for (const { request, pods } of classes) {
    const gain = isMix ? 0 : milliOf(request) / MILLI_PER_GPU;
    const terms: Term[] = [];
    for (const [at, shape] of shapes.entries()) {
      if (!canHost(shape, request)) continue;
      const variable = program.variable(gain, isMix ? pods * mostShare : pods);
      onShape[at]?.push({ request, variable });
      terms.push([1, variable]);
    }
    if (terms.length === 0) continue;
    const isForced = goal === 'most placed, all CPU-only pods' && request.gpuCount === 0;
    if (share !== undefined) program.exactly(0, [...terms, [-pods, share]]);
    else if (isForced) program.exactly(pods, terms);
    else program.atMost(pods, terms);
  }
  const sizes = classes.filter(({ request }) => isSharing(request)).map(({ request }) => request.slicesPerGpu);
  const gridMilli = gridFor([...new Set(sizes)], MILLI_PER_GPU, shapes.length);
  for (const [at, shape] of shapes.entries()) addShape(program, shape, onShape[at] ?? [], gridMilli);
  return program;
}

function isSharing({ gpuCount, slicesPerGpu }: PodRequest): boolean {
  return gpuCount === 1 && slicesPerGpu < MILLI_PER_GPU;
}

function addShape(program: LinearProgram, shape: NodeShape, placed: readonly Placed[], gridMilli: number): void {
  const cpu = placed.map(({ request, variable }): Term => [request.host.cpuMilli / MILLI_PER_CORE, variable]);
  program.atMost((shape.nodes * shape.cpuMilli) / MILLI_PER_CORE, used(cpu));
  const memory = placed.map(({ request, variable }): Term => [request.host.memoryMiB / MIB_PER_GIB, variable]);
  program.atMost((shape.nodes * shape.memoryMiB) / MIB_PER_GIB, used(memory));
  if (shape.gpus === 0) return;
  const sharing = placed.filter(({ request }) => isSharing(request));
  const opened = addSharing(program, shape, sharing, gridMilli);
  const whole = placed.filter(({ request }) => request.gpuCount > 0 && !isSharing(request));
  const wholeGpus = whole.map(({ request, variable }): Term => [request.gpuCount, variable]);
  program.atMost(shape.nodes * shape.gpus, [...opened, ...wholeGpus]);
  addGroups(program, shape, whole);
}

/** GPUs filled with sharing pods; the result counts those GPUs. */
function addSharing(
  program: LinearProgram,
  shape: NodeShape,
  sharing: readonly Placed[],
  gridMilli: number,
): readonly Term[] {
  const gpus = shape.nodes * shape.gpus;
  const ofSize = new Map<number, Term[]>();
  for (const { request, variable } of sharing) {
    const size = Math.floor(request.slicesPerGpu / gridMilli) * gridMilli;
    const terms = ofSize.get(size);
    if (terms === undefined) ofSize.set(size, [[1, variable]]);
    else terms.push([1, variable]);
  }
  const { arcs, innerMilli } = sharingGraph([...ofSize.keys()], MILLI_PER_GPU);
  const from = new Map([0, ...innerMilli].map((milli): [number, Term[]] => [milli, []]));
  const opened: Term[] = [];
  for (const { fromMilli, sizeMilli } of arcs) {
    const variable = program.variable(0, gpus);
    if (fromMilli === 0) opened.push([1, variable]);
    from.get(fromMilli)?.push([1, variable]);
    from.get(fromMilli + sizeMilli)?.push([-1, variable]);
    ofSize.get(sizeMilli)?.push([-1, variable]);
  }
  for (const milli of innerMilli) program.atMost(0, from.get(milli) ?? []);
  // What the grid has cut to nothing is held by its volume alone.
  for (const [size, terms] of ofSize) if (size > 0) program.atMost(0, terms);
  const volume = sharing.map(({ request, variable }): Term => [request.slicesPerGpu / MILLI_PER_GPU, variable]);
  program.atMost(0, [...volume, ...opened.map(([, variable]): Term => [-1, variable])]);
  return opened;
}

/** A pod of k GPUs takes at least ⌊k / size⌋ groups of `size` GPUs, and a node has ⌊GPUs / size⌋. */
function addGroups(program: LinearProgram, shape: NodeShape, whole: readonly Placed[]): void {
  const sizes = [...new Set(whole.map(({ request }) => request.gpuCount))].filter((size) => size > 1);
  for (const size of sizes) {
    const terms = whole.map(({ request, variable }): Term => [Math.floor(request.gpuCount / size), variable]);
    program.atMost(shape.nodes * Math.floor(shape.gpus / size), used(terms));
  }
}

function used(terms: readonly Term[]): readonly Term[] {
  return terms.filter(([factor]) => factor > 0);
}

/** Pods of a class that fit on all nodes of the shape, were they empty. */
function podsThatFit(shape: NodeShape, { gpuCount, slicesPerGpu, host }: PodRequest): number {
  const perGpu = slicesPerGpu > 0 ? Math.floor(MILLI_PER_GPU / slicesPerGpu) : 0;
  const most = [
    host.cpuMilli > 0 ? shape.cpuMilli / host.cpuMilli : Infinity,
    host.memoryMiB > 0 ? shape.memoryMiB / host.memoryMiB : Infinity,
    gpuCount > 0 ? (shape.gpus * perGpu) / gpuCount : Infinity,
  ];
  return shape.nodes * Math.min(...most);
}

/** A share that no mix can exceed: that of the class which alone fills the empty cluster first. */
function largestShare(shapes: readonly NodeShape[], classes: readonly PodClass[]): number {
  const shares = classes.flatMap(({ request, pods }) => {
    const hosts = shapes.filter((shape) => canHost(shape, request));
    const fitting = hosts.reduce((sum, shape) => sum + podsThatFit(shape, request), 0);
    return hosts.length === 0 ? [] : [fitting / pods];
  });
  return Math.min(MOST_SHARE, ...shares);
}
