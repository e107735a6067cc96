import { type ObservedLink, observeLink } from '../../shared/net/observe.js'
import type { Host } from '../../shared/plan/host.js'
import { CniError, codes } from '../../shared/values/errors.js'
import type { Attributes } from './originals.js'
import { type Setting, singleSpaced } from './sysctls.js'

/** What is there now. */
export interface Present {
  /** Undefined when there is no such link. */
  readonly link?: Required<Attributes>
  /** The same as it was seen. */
  readonly observed?: ObservedLink
  /** path -> value; what cannot be read is not in it. */
  readonly sysctls: ReadonlyMap<string, string>
}

/** Looks at a link and at settings of its namespace. */
export function look(host: Host, netns: string, ifName: string, settings: readonly Setting[]): Present {
  const paths = settings.map(({ path }) => path)
  const read = paths.length === 0 ? new Map() : (host.kernel?.settings(netns, paths) ?? grepped(host, netns, paths))
  const sysctls = new Map([...read].map(([path, text]) => [path, singleSpaced(text.split('\n')[0] ?? '')]))
  const link = observeLink(host, ifName, netns)
  return { ...(link ? { link: describe(link), observed: link } : {}), sysctls }
}

// --- internal

/** Its lines are "FILE:VALUE"; a setting that cannot be read has none, and writing it will say why. */
function grepped({ run }: Host, netns: string, paths: readonly string[]): ReadonlyMap<string, string> {
  const files = paths.map((path) => `/proc/sys/${path}`)
  const { failure, stdout } = run({ argv: ['nsenter', `--net=${netns}`, 'grep', '-sH', '', ...files] })
  if (failure === 'ENOENT') {
    throw new CniError(codes.toolMissing, 'the program "nsenter" is not installed', { fix: 'install util-linux' })
  }
  const lines = stdout.split('\n')
  return new Map(
    paths.flatMap((path) => {
      const start = `/proc/sys/${path}:`
      const line = lines.find((one) => one.startsWith(start))
      return line === undefined ? [] : [[path, line.slice(start.length)]]
    }),
  )
}

function describe(link: ObservedLink): Required<Attributes> {
  return {
    mac: link.address ?? '',
    promisc: link.flags.includes('PROMISC'),
    mtu: link.mtu,
    allmulti: link.flags.includes('ALLMULTI'),
    txQLen: link.txqlen ?? 0,
  }
}
