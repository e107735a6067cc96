import type { Definition } from './frame/command.js'

/** `podwire agent`: keeps a node of Kubernetes in the network of its cluster. */
export default {
  name: 'agent',
  summary: 'keep this node of Kubernetes in the network of its cluster: its configuration, routes and masquerade',
  details: [
    "It writes 10-podwire.conflist of the node's spec.podCIDRs, keeps routes to the pods of the other nodes (protocol " +
      '117) where they are on one link, and the table podwire-agent of nftables, which masquerades what leaves the ' +
      'cluster. What it did not make it leaves alone. All of it stays when the agent ends; --remove takes it away.',
    'deploy/podwire.yaml runs it on every node. Its settings are the ConfigMap of --config-map, key config.yaml; what is ' +
      'wrong becomes an Event of the node. docs/cluster.md tells all of it.',
  ],
  options: [
    { flags: '--node <name>', what: 'the name of this node (default: NODE_NAME, else the host name)' },
    {
      flags: '--server <url>',
      what: 'the API server, where its ClusterIP needs kube-proxy first (default: KUBERNETES_SERVICE_HOST and _PORT)',
    },
    { flags: '--kubeconfig <file>', what: 'how to reach the API server, outside of a pod' },
    {
      flags: '--service-account <dir>',
      what: 'token and CA of the pod',
      default: '/var/run/secrets/kubernetes.io/serviceaccount',
    },
    { flags: '--namespace <name>', what: "the namespace of the ConfigMap (default: the pod's)" },
    { flags: '--config-map <name>', what: 'the ConfigMap with the settings', default: 'podwire' },
    { flags: '--listen <address>', what: 'where /healthz, /readyz and /metrics are', default: '127.0.0.1:9117' },
    { flags: '--every <seconds>', what: 'how often what stands is looked at without a cause', default: '10' },
    { flags: '--gc-every <seconds>', what: "how far apart gc's two looks at a dead pod are", default: '600' },
    { flags: '--runtime-root <dir>', what: "the node's own root, where gc finds runtimes", default: '/proc/1/root' },
    { flags: '--state <dir>', what: 'where it keeps the last good configuration', default: '/var/lib/podwire' },
    { flags: '--log-level <level>', what: "instead of the ConfigMap's", choices: ['error', 'warn', 'info', 'debug'] },
    { flags: '--install-to <dir>', what: 'only install the plugins there; an Event says why that failed' },
    { flags: '--from <dir>', what: 'with --install-to: where the suite is (default: where this program is)' },
    { flags: '--remove', what: 'only take away what the agent made on this node' },
    { flags: '--stay', what: 'with --remove: remove it again at each look until a signal, as a DaemonSet needs it' },
  ],
  places: ['root', 'conf', 'bin', 'data'],
  examples: [
    { line: 'kubectl apply -f deploy/podwire.yaml', what: 'runs it on every node' },
    { line: 'podwire agent --remove', what: 'takes away what it made on this node' },
  ],
  // The client of the API server is large: no other command reads it.
  run: async (call) => (await import('./agent/run.js')).runAgent(call),
} satisfies Definition
