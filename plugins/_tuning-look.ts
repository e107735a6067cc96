import { statSync } from 'node:fs'
import { type ObservedLink, observeLink } from '../shared/net/observe.js'
import type { Host } from '../shared/plan/host.js'
import { CniError, codes } from '../shared/protocol/errors.js'
import type { Attributes } from './_tuning-originals.js'
import { type Setting, singleSpaced } from './_tuning-sysctls.js'

/** What is there now. */
export interface Present {
  /** Undefined when there is no such link. */
  readonly link?: Required<Attributes> & { readonly identity: string }
  /** path -> value; what cannot be read is not in it. */
  readonly sysctls: ReadonlyMap<string, string>
}

/** Looks at a link and at settings of its namespace. */
export function look(host: Host, netns: string, ifName: string, settings: readonly Setting[]): Present {
  const paths = settings.map(({ path }) => path)
  const read = paths.length === 0 ? new Map() : (host.kernel?.settings(netns, paths) ?? grepped(host, netns, paths))
  const sysctls = new Map([...read].map(([path, text]) => [path, singleSpaced(text.split('\n')[0] ?? '')]))
  const link = observeLink(host, ifName, netns)
  return { ...(link ? { link: describe(link, netns) } : {}), sysctls }
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

/** A container's link that is made anew has another peer, and so another identity, even if its name is the same. */
function describe(link: ObservedLink, netns: string): Required<Attributes> & { readonly identity: string } {
  return {
    mac: link.address ?? '',
    promisc: link.flags.includes('PROMISC'),
    mtu: link.mtu,
    allmulti: link.flags.includes('ALLMULTI'),
    txQLen: link.txqlen ?? 0,
    identity: `${statSync(netns).ino}/${link.ifindex}/${link.link_index ?? 0}`,
  }
}
