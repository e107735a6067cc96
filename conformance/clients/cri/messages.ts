/**
 * The messages of the container runtime interface (runtime.v1) that the scenarios send and read, field by field with
 * their protobuf numbers. Fields that are not listed are skipped on reading.
 */
import type { Message } from './protobuf.js'

const namespaceModes = ['POD', 'CONTAINER', 'NODE', 'TARGET'] as const

const Empty: Message = {}
const PodSandboxReference: Message = { pod_sandbox_id: { number: 1, type: 'string' } }

const PortMapping: Message = {
  protocol: { number: 1, type: ['TCP', 'UDP', 'SCTP'] },
  container_port: { number: 2, type: 'int32' },
  host_port: { number: 3, type: 'int32' },
  host_ip: { number: 4, type: 'string' },
}
const DNSConfig: Message = {
  servers: { number: 1, type: 'string', repeated: true },
  searches: { number: 2, type: 'string', repeated: true },
  options: { number: 3, type: 'string', repeated: true },
}
const NamespaceOption: Message = {
  network: { number: 1, type: namespaceModes },
  pid: { number: 2, type: namespaceModes },
  ipc: { number: 3, type: namespaceModes },
}
const LinuxSandboxSecurityContext: Message = { namespace_options: { number: 1, type: NamespaceOption } }
const LinuxPodSandboxConfig: Message = {
  cgroup_parent: { number: 1, type: 'string' },
  security_context: { number: 2, type: LinuxSandboxSecurityContext },
}
const PodSandboxMetadata: Message = {
  name: { number: 1, type: 'string' },
  uid: { number: 2, type: 'string' },
  namespace: { number: 3, type: 'string' },
  attempt: { number: 4, type: 'int32' },
}
const PodSandboxConfig: Message = {
  metadata: { number: 1, type: PodSandboxMetadata },
  hostname: { number: 2, type: 'string' },
  log_directory: { number: 3, type: 'string' },
  dns_config: { number: 4, type: DNSConfig },
  port_mappings: { number: 5, type: PortMapping, repeated: true },
  labels: { number: 6, type: 'map' },
  annotations: { number: 7, type: 'map' },
  linux: { number: 8, type: LinuxPodSandboxConfig },
}
const RunPodSandboxRequest: Message = {
  config: { number: 1, type: PodSandboxConfig },
  runtime_handler: { number: 2, type: 'string' },
}

const PodSandboxStatusRequest: Message = {
  pod_sandbox_id: { number: 1, type: 'string' },
  verbose: { number: 2, type: 'bool' },
}
const PodIP: Message = { ip: { number: 1, type: 'string' } }
const PodSandboxNetworkStatus: Message = {
  ip: { number: 1, type: 'string' },
  additional_ips: { number: 2, type: PodIP, repeated: true },
}
const PodSandboxStatus: Message = {
  id: { number: 1, type: 'string' },
  metadata: { number: 2, type: PodSandboxMetadata },
  state: { number: 3, type: ['SANDBOX_READY', 'SANDBOX_NOTREADY'] },
  network: { number: 5, type: PodSandboxNetworkStatus },
}
const PodSandboxStatusResponse: Message = {
  status: { number: 1, type: PodSandboxStatus },
  info: { number: 2, type: 'map' },
}

const RuntimeCondition: Message = {
  type: { number: 1, type: 'string' },
  status: { number: 2, type: 'bool' },
  reason: { number: 3, type: 'string' },
  message: { number: 4, type: 'string' },
}
const RuntimeStatus: Message = { conditions: { number: 1, type: RuntimeCondition, repeated: true } }
const StatusResponse: Message = { status: { number: 1, type: RuntimeStatus } }

/** The calls of runtime.v1.RuntimeService the kubelet makes for a pod's network, each with its request and response. */
export const methods = {
  Status: { request: Empty, response: StatusResponse },
  RunPodSandbox: { request: RunPodSandboxRequest, response: PodSandboxReference },
  PodSandboxStatus: { request: PodSandboxStatusRequest, response: PodSandboxStatusResponse },
  StopPodSandbox: { request: PodSandboxReference, response: Empty },
  RemovePodSandbox: { request: PodSandboxReference, response: Empty },
} satisfies Record<string, { request: Message; response: Message }>

/** The name of one of the calls above. */
export type MethodName = keyof typeof methods
