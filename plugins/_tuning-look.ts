import { statSync } from 'node:fs'
import { shapes } from 'podwire:shapes'
import { firstLine, reasonOf } from '../shared/exec/stderr.js'
import type { ObservedLink } from '../shared/net/observe.js'
import type { Host } from '../shared/plan/host.js'
import { accept } from '../shared/protocol/accept.js'
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

/** Looks at a link and at settings of its namespace in one process. */
export function look(host: Host, netns: string, ifName: string, settings: readonly Setting[]): Present {
  const files = settings.map(({ path }) => `/proc/sys/${path}`)
  const outcome = host.run({ argv: ['nsenter', `--net=${netns}`, 'sh', '-c', script, 'sh', ifName, ...files] })
  if (outcome.failure === 'ENOENT') {
    throw new CniError(codes.toolMissing, 'the program "nsenter" is not installed', { fix: 'install util-linux' })
  }
  const { values, links } = split(outcome.stdout)
  const sysctls = new Map<string, string>()
  for (const { path } of settings) {
    const line = values.find((one) => one.startsWith(`/proc/sys/${path}:`))
    if (line !== undefined) sysctls.set(path, singleSpaced(line.slice(line.indexOf(':') + 1)))
  }
  if (outcome.status === 0) return { link: describe(observed(links), netns), sysctls }
  if (reasonOf(outcome.stderr) === 'absent') return { sysctls }
  throw new CniError(codes.operationFailed, `cannot look at ${ifName}: ${firstLine(outcome.stderr)}`, {
    details: `stderr: ${outcome.stderr.trim()}`,
  })
}

// --- internal

/** Constant text; names come as arguments. A setting that cannot be read has no line: writing it will say why. */
const script = `dev=$1; shift
[ $# = 0 ] || grep -sH '' "$@"
exec ip -j -d addr show dev "$dev"`

/** grep's lines are "path:value"; what ip prints begins with a bracket. */
function split(stdout: string): { readonly values: readonly string[]; readonly links: string } {
  const lines = stdout.split('\n')
  const end = lines.findIndex((line) => line.startsWith('['))
  return end < 0 ? { values: lines, links: '[]' } : { values: lines.slice(0, end), links: lines.slice(end).join('\n') }
}

function observed(text: string): ObservedLink {
  const { value, problems } = accept(JSON.parse(text), shapes['observe.links'] as never)
  const [link] = (value ?? []) as ObservedLink[]
  if (problems.length === 0 && link) return link
  throw new CniError(codes.operationFailed, 'cannot read the answer of "ip addr show"', { problems })
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
