// Why a pod was turned away, in few words: the messages without their names and numbers.

const CLASSES: readonly (readonly [RegExp, string])[] = [
  [/with what was meant for|with an environment in which/, 'admitted with the answer to another (contradiction)'],
  [/with slices of other GPUs/, 'admitted with slices of other GPUs (contradiction)'],
  [/cannot tell whose/, 'cannot tell whose the slices are'],
  [/no pod on this node .*without an allocation|reached this node without an allocation/, 'came past the extender'],
  [/which this node does not have/, 'allocated a GPU of another node'],
  [/was not written by the extender/, 'allocated another number of GPUs'],
  [/allocation annotation is/, 'garbled allocation'],
  [/waits for \d+ slices$/, 'no pod waits for as many slices'],
  [/was granted GPU .* before/, 'allocation changed after the grant'],
  [/percent of compute left/, 'GPU over its capacity'],
  [/names several holders/, 'the kubelet names several holders'],
  [/names no holder/, 'the kubelet names no holder'],
  [/is now \S+$|belong to pod/, 'the name belongs to another pod now'],
  [/is not known here yet/, 'pod not known yet'],
  [/ is gone$/, 'pod is gone'],
  [/has ended/, 'pod has ended'],
  [/finds no such CDI device/, 'started without being asked for: no device to be found'],
  [/was rejected/, 'rejected by the kubelet at its restart'],
  [/Requested: \d+, Available/, 'kubelet has too few ids'],
  [/no healthy devices present|unregistered device/, 'plugin not registered'],
  [/CANCELLED|cancelled|UNAVAILABLE|connection|closed/i, 'connection cut by a restart'],
  [/cannot be reached|did not list|PodResources/, 'PodResources not reachable'],
  [/DEADLINE/, 'took too long'],
];

export function classOf(message: string): string {
  return CLASSES.find(([pattern]) => pattern.test(message))?.[1] ?? `other: ${message.slice(0, 160)}`;
}
