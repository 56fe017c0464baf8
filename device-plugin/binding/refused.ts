// Why a container may not start. The message goes to the kubelet and from there into the pod's events.

export class BindingRefused extends Error {}
