import { expect, test } from 'vitest'
import type { SavedRules } from '../../shared/plan/observer.js'
import { render, renderOne } from '../../shared/plan/render.js'
import { officialName } from '../../shared/values/names.js'
import { backends } from './backends.js'
import { removeStaleChains, type Saved } from './iptables.js'
import type { Publication, Published } from './publication.js'

// Plans from what was seen, without a machine.

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
const chainOf = (containerID: string) => officialName('CNI-DN-', { ...attachment, containerID }, 28)
const four: Publication = {
  family: 'ip',
  address: '10.9.0.2',
  cidr: '10.9.0.2/24',
  ports: [{ protocol: 'tcp', host: 80, container: 8080 }],
  masquerade: 'hairpin',
  conditions: [],
}
const six: Publication = { ...four, family: 'ip6', address: 'fd00::2', cidr: 'fd00::2/64' }
const empty: Saved = { nat: new Map(), raw: [] }

function published(backend: Published['backend'], ...publications: Publication[]): Published {
  return { backend, publications }
}

/** The rules that lead to a container's chain. */
function savedOf(...containers: string[]): SavedRules {
  return containers.flatMap((id) => [
    [`:${chainOf(id)}`, '-', '[0:0]'],
    ['-A', 'CNI-HOSTPORT-DNAT', '--comment', `"dnat name: \\"net\\" id: \\"${id}\\""`, '-j', chainOf(id)],
  ])
}

test('iptables: the guard of 127/8 is for IPv4 that is masqueraded, and is made once', () => {
  const guardsOf = (seen: Saved, ...publications: Publication[]) =>
    backends.iptables
      .publish(attachment, published('iptables', ...publications), seen)
      .filter(({ argv }) => argv[1] === 'raw').length
  expect(guardsOf(empty, four)).toBe(4)
  expect(guardsOf(empty, four, six)).toBe(4)
  expect(guardsOf({ ...empty, raw: [[':PODWIRE-GUARD', '-', '[0:0]']] }, four)).toBe(0)
  expect(guardsOf(empty, six)).toBe(0)
  expect(guardsOf(empty, { ...four, masquerade: 'none' })).toBe(0)
})

test('iptables: a port that the official plugin has published for another is refused', () => {
  const chain = chainOf('other')
  const taken = ['-A', chain, '-p', 'tcp', '--dport', '80', '-j', 'DNAT', '--to-destination', '10.9.0.9:80']
  const seen = { ...empty, nat: new Map([['iptables', [...savedOf('other'), taken]]] as const) }
  const make = (one: Publication) => () => backends.iptables.publish(attachment, published('iptables', one), seen)
  expect(make(four)).toThrow('80/tcp: it is published by container "other" (network "net")')
  expect(make(six)).not.toThrow()
})

test('iptables: withdraws chains of both families, also those of old versions, and nothing where nothing was made', () => {
  const old = officialName('CNI-SN-', attachment, 28)
  const nat = new Map([
    ['iptables', savedOf('c1', 'c2')],
    ['ip6tables', [[`:${old}`, '-', '[0:0]']]],
  ] as const)
  const withdraw = (...of: Publication[]) =>
    backends.iptables.withdraw(attachment, published('iptables', ...of), { ...empty, nat }).map(renderOne)
  expect(withdraw()).toEqual([])
  expect(withdraw(four)).toEqual([
    `iptables -t nat -D CNI-HOSTPORT-DNAT --comment 'dnat name: "net" id: "c1"' -j ${chainOf('c1')}`,
    `iptables -t nat -F ${chainOf('c1')}`,
    `iptables -t nat -X ${chainOf('c1')}`,
    `ip6tables -t nat -F ${old}`,
    `ip6tables -t nat -X ${old}`,
  ])
})

test('iptables: collects chains of this network whose container is not valid', () => {
  const nat = new Map([['iptables', savedOf('c1', 'c2')]] as const)
  const plan = removeStaleChains({ ...empty, nat }, 'net', new Set(['c1']))
  expect(plan.map(({ argv }) => argv.slice(2, 4).join(' '))).toEqual([
    '-D CNI-HOSTPORT-DNAT',
    `-F ${chainOf('c2')}`,
    `-X ${chainOf('c2')}`,
  ])
  expect(removeStaleChains({ ...empty, nat }, 'net', new Set(['c1', 'c2']))).toEqual([])
  expect(removeStaleChains({ ...empty, nat }, 'another', new Set())).toEqual([])
})

test('nftables: withdraws everything in one transaction, and nothing where nothing was made', () => {
  expect(backends.nftables.withdraw(attachment, published('nftables'), empty)).toEqual([])
  const plan = backends.nftables.withdraw(attachment, published('nftables', four, six), empty)
  expect(plan).toHaveLength(1)
  expect(render(plan).match(/delete element/g)).toHaveLength(6)
})

test('nftables: all is taken back by what takes back its first part', () => {
  const ports = [1, 2].map((one) => ({ protocol: 'tcp' as const, host: 80 + one, container: 8080 }))
  const plan = backends.nftables.publish(attachment, published('nftables', { ...four, ports }), empty)
  expect(plan.map(({ undo = [] }) => undo.length)).toEqual([1, ...plan.slice(1).map(() => 0)])
  expect(plan[0]?.undo?.[0]).toMatchObject({ tolerate: ['absent'] })
  expect(render(plan[0]?.undo ?? []).match(/delete element/g)).toHaveLength(3)
})
