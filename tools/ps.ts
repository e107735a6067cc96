import { type Definition, fine } from './frame/command.js'
import type { KnownAttachment } from './node/node.js'
import { age, attachmentJson, portWords, shortID, warnOfUnused } from './node/print.js'
import { FileReader } from './node/reader.js'
import { lookAtNode, socketOption } from './node/sockets.js'

/** `podwire ps`: every attachment that something on this node tells of. */
export default {
  name: 'ps',
  summary: 'list the attachments of containers to networks, and whether they live',
  details: [
    "They are put together of podwire's records, of the results that libcni keeps (containerd, CRI-O, Podman, nerdctl " +
      "and cnitool have it do so), and of host-local's leases; those of the official plugins, too. Names of containers " +
      'are those of OCI bundles and of the lists of Podman and CRI-O; --socket asks a runtime itself.',
    'An attachment is alive while its network namespace is there, and dead when that is gone and no other namespace of ' +
      'the host has its addresses. What is neither for sure is unknown.',
  ],
  places: ['root', 'conf', 'data'],
  options: [{ flags: '--dead', what: 'only those that are provably dead' }, socketOption],
  json: '`attachments` and `unused` files',
  examples: [
    { line: 'podwire ps', what: 'lists them all' },
    { line: 'podwire ps --socket /run/containerd/containerd.sock', what: 'has the names that containerd tells' },
  ],
  run: async (call) => {
    const reader = new FileReader(call.place)
    const { attachments } = await lookAtNode(call, reader)
    const chosen = attachments.filter(({ life }) => !call.options['dead'] || life.state === 'dead')
    if (call.asJson) call.console.json('ps', { attachments: chosen.map(jsonOf), unused: reader.unused })
    else {
      call.console.table(headings, chosen.map(rowOf))
      warnOfUnused(call, reader)
    }
    return fine
  },
} satisfies Definition

// --- internal

const headings = [
  ...['NETWORK', 'CONTAINER', 'NAME', 'INTERFACE', 'ADDRESSES', 'MAC', 'HOST LINK', 'PORTS', 'AGE', 'STATE', 'HOW'],
]

function rowOf(one: KnownAttachment): readonly string[] {
  const { network, containerID, name, ifName, addresses, mac, hostLink, ports, since, life } = one
  const shown = ports.slice(0, 4).map(portWords)
  const more = ports.length > 4 ? [`and ${ports.length - 4} more`] : []
  const tied = [ifName, addresses.join(','), mac, hostLink, [...shown, ...more].join(','), age(since)]
  return [network, shortID(containerID), name, ...tied, life.state, life.how]
}

function jsonOf(one: KnownAttachment) {
  const { netns, addresses, mac, hostLink, ports, records, results, leases } = one
  const files = [...records, ...results, ...leases].map(({ file }) => file)
  return { ...attachmentJson(one), netns, addresses, mac, hostLink, ports, files }
}
