import type { Call } from '../harness/plugin.js'
import { scriptDirectory } from '../harness/scripts.js'
import { differing, literal, own, type Row, result, same, silence } from './row.js'

const bridge = (more: object = {}): object => ({
  cniVersion: '1.1.0',
  name: 'n',
  type: 'bridge',
  bridge: 'br0',
  ...more,
})
const addressed = { ipam: { type: 'host-local', subnet: '10.1.2.0/24' } }
const onBridge = (more: object, call: Partial<Call> = {}): Partial<Call> => ({
  plugin: 'bridge',
  config: bridge(more),
  ...call,
})
const nowhere = '/run/netns/nowhere'
const ownNetns = '/proc/self/ns/net'
const sameNetns = "plugin's netns and netns from CNI_NETNS should not be the same"
const unknownArgs = 'ARGS: unknown args ["A=B"]'

const namespaceRows: Row[] = [
  differing('ADD into the own namespace', { netns: ownNetns }, 'the namespace is looked at before any work is done', {
    official: { is: 'twoDocuments', code: 8 },
    podwire: { is: 'error', code: 8, msg: sameNetns },
  }),
  literal('DEL from the own namespace', { command: 'DEL', netns: ownNetns }, 8, sameNetns),
  ...['1', 'true', 'TRUE'].flatMap((value) => [
    same(
      `ADD into the own namespace, override ${value}`,
      { netns: ownNetns, env: { CNI_NETNS_OVERRIDE: value } },
      result,
    ),
    same(
      `DEL from the own namespace, override ${value}`,
      { command: 'DEL', netns: ownNetns, env: { CNI_NETNS_OVERRIDE: value } },
      silence,
    ),
  ]),
  ...['0', 'yes', 't'].map((value) =>
    literal(
      `override ${value} is none`,
      { command: 'DEL', netns: ownNetns, env: { CNI_NETNS_OVERRIDE: value } },
      8,
      sameNetns,
    ),
  ),
  same('ADD of addresses without a namespace', { netns: nowhere }, result),
  same('DEL of addresses without a namespace', { command: 'DEL', netns: nowhere }, silence),
  own(
    'bridge ADD, no such namespace',
    onBridge(addressed, { netns: nowhere }),
    `failed to open netns "${nowhere}": failed to Statfs "${nowhere}": no such file or directory`,
    [104],
    nowhere,
  ),
  own(
    'bridge ADD, a file that is no namespace',
    onBridge(addressed, { netns: '/sys/kernel/uevent_seqnum' }),
    'failed to open netns "/sys/kernel/uevent_seqnum": unknown FS magic on "/sys/kernel/uevent_seqnum": 62656572',
    [104],
    '/sys/kernel/uevent_seqnum',
  ),
  same('bridge DEL, no such namespace', onBridge(addressed, { command: 'DEL', netns: nowhere }), silence),
  same('bridge DEL, CNI_NETNS unset', onBridge(addressed, { command: 'DEL', env: { CNI_NETNS: '' } }), silence),
  same('bridge DEL of what never was', onBridge(addressed, { command: 'DEL' }), silence),
  own(
    'bridge DEL, a file that is no namespace',
    onBridge(addressed, { command: 'DEL', netns: '/sys/kernel/uevent_seqnum' }),
    'unknown FS magic on "/sys/kernel/uevent_seqnum": 62656572',
    [104],
    '/sys/kernel/uevent_seqnum',
  ),
]

const checkRows: Row[] = [
  {
    ...own(
      'bridge CHECK without prevResult and lease',
      onBridge(
        { ipam: { type: 'host-local', subnet: '10.1.2.0/24' } },
        { command: 'CHECK', containerID: 'c1', netns: '/run/netns/x' },
      ),
      'host-local: Failed to find address added by container c1',
      [7, 105],
    ),
    // Of two mistakes ours tells the one that needs no look at the disk.
    podwire: { is: 'own', codes: [7], official: 'Required prevResult missing' },
  },
  own(
    'bridge CHECK without prevResult',
    onBridge({ ipam: { type: 'ok' } }, { command: 'CHECK', path: scriptDirectory }),
    'Required prevResult missing',
    [7],
  ),
  own(
    'bridge CHECK, empty prevResult',
    onBridge({ ipam: { type: 'ok' }, prevResult: {} }, { command: 'CHECK', path: scriptDirectory }),
    'Interface name missing ',
    [7, 105],
  ),
]

const argumentRows: Row[] = [
  own('unknown argument', { args: 'A=B' }, unknownArgs, [4, 7], 'A=B'),
  ...['A', 'A=B=C', 'IP=10.1.2.4/24;', 'IgnoreUnknown=1;'].map((args) =>
    own(
      `arguments ${args}`,
      { args },
      `ARGS: invalid pair "${args.endsWith(';') ? '' : args}"`,
      [4, 7],
      args.endsWith(';') ? 'ARGS' : args,
    ),
  ),
  own(
    'IgnoreUnknown that is no boolean',
    { args: 'IgnoreUnknown=yes;A=B' },
    'ARGS: error parsing value of pair "IgnoreUnknown=yes": boolean unmarshal error: invalid input yes',
    [4, 7],
    'IgnoreUnknown',
  ),
  own(
    'argument names are case-sensitive',
    { args: 'ignoreunknown=1;A=B' },
    'ARGS: unknown args ["ignoreunknown=1" "A=B"]',
    [4, 7],
    'ignoreunknown=1',
  ),
  same('unknown arguments that may be ignored', { args: 'A=B;IgnoreUnknown=TRUE' }, result),
  own('bridge ADD, unknown argument', onBridge(addressed, { args: 'A=B' }), unknownArgs, [4, 7], 'A=B'),
  differing(
    'bridge DEL, unknown argument',
    onBridge(addressed, { command: 'DEL', args: 'A=B' }),
    'DEL never fails on CNI_ARGS: nothing of an attachment is left because of a label',
    { official: { is: 'error', code: 999, msg: unknownArgs }, podwire: silence },
  ),
]

const modeRows: Row[] = [
  differing(
    'bridge ADD without addresses, version 0.2.0',
    onBridge({ cniVersion: '0.2.0' }),
    'refused before anything is touched, not after the link was made',
    {
      official: { is: 'error', code: 999, msg: 'cannot convert: no valid IP addresses' },
      podwire: { is: 'own', codes: [7], mentions: 'cannot convert: no valid IP addresses' },
    },
  ),
  own(
    'bridge ADD, ipam.type is a number',
    onBridge({ ipam: { type: 5 } }),
    'failed to load netconf: json: cannot unmarshal number into Go struct field IPAM.NetConf.ipam.type of type string',
    [7],
    'ipam.type',
  ),
  own(
    'bridge ADD, mtu is a string',
    onBridge({ mtu: '1500' }),
    'failed to load netconf: json: cannot unmarshal string into Go struct field NetConf.mtu of type int',
    [7],
    'mtu',
  ),
  differing(
    'bridge ADD, vlanTrunk holds null',
    onBridge({ vlanTrunk: [null] }),
    'null entries are refused; the official plugin crashes',
    {
      official: { is: 'crash' },
      podwire: { is: 'own', codes: [7], mentions: 'vlanTrunk[0]' },
    },
  ),
]

/** What the plugins themselves refuse, once the environment and the input are in order. */
export const pluginRows: Row[] = [...namespaceRows, ...checkRows, ...argumentRows, ...modeRows]
