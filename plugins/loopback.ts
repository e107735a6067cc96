import { setLink, setUp } from '../shared/net/ip.js'
import { insideTools, requireForAdd } from '../shared/net/needs.js'
import { livingNetns, requireNetns } from '../shared/net/netns.js'
import { type Call, definePlugin } from '../shared/program/plugin.js'
import { CniError, codes } from '../shared/values/errors.js'
import type { ObservedLink } from '../shared/values/observe.schema.js'
import { emptyResult, type Result } from '../shared/values/result.js'

/** Brings the container's `lo` up. The interface is always `lo`, whatever CNI_IFNAME says. */
export default definePlugin({
  name: 'loopback',
  official: () => ({
    load: 'failed to parse network config: ',
    structs: { '': 'PluginConf' },
    prevResult: 'failed to parse prevResult: could not parse prevResult: ',
  }),

  prevResult: { ADD: 'optional' },

  add({ environment, prevResult, host }) {
    const netns = requireNetns(environment.netns)
    host.apply([setUp({ link: 'lo', netns })])
    const lo = look({ host }, netns)
    refuseForeignAddresses(lo)
    return prevResult ?? describe(lo, netns)
  },

  check({ environment, host }) {
    const lo = look({ host }, requireNetns(environment.netns))
    if (lo?.flags.includes('UP')) return
    throw new CniError(codes.checkFailed, 'loopback interface is down', {
      problems: [{ path: 'lo', value: lo?.flags, expected: 'the flag UP' }],
      fix: `nsenter --net=${environment.netns} ip link set lo up`,
    })
  },

  del({ environment, host }) {
    const netns = livingNetns(environment.netns)
    if (netns === undefined) return
    host.sweep([{ ...setLink({ link: 'lo', netns }, ['down'], 'set lo down'), tolerate: ['absent'] }])
  },

  status({ host }) {
    requireForAdd(host, { programs: insideTools(host) })
  },
})

// --- internal

function look({ host }: Pick<Call, 'host'>, netns: string): ObservedLink | undefined {
  return host.observer.link('lo', netns)
}

function refuseForeignAddresses(lo: ObservedLink | undefined): void {
  const foreign = lo?.addr_info.find(({ local = '' }) => !isLoopback(local))
  if (!foreign) return
  throw new CniError(codes.nameTaken, `loopback interface found with non-loopback address "${foreign.local}"`, {
    problems: [{ path: 'lo', value: foreign.local, expected: 'only addresses of 127.0.0.0/8 and ::1' }],
    fix: 'remove the address from lo: nothing but loopback addresses belongs there',
  })
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1'
}

/** The first address of each family, as the official plugin reports them. */
function describe(lo: ObservedLink | undefined, netns: string): Result {
  const first = ['inet', 'inet6'].map((family) => lo?.addr_info.find((one) => one.family === family))
  const ips = first.filter((one) => one !== undefined)
  return {
    ...emptyResult,
    interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: netns }],
    ips: ips.map(({ local, prefixlen }) => ({ address: `${local}/${prefixlen}`, interface: 0 })),
  }
}
