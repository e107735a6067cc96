import { legacyTable, plainTools, savedRules } from '../../shared/net/iptables.js'
import type { Host } from '../../shared/plan/host.js'
import type { ListedChain, Observer, SavedRules } from '../../shared/plan/observer.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { names } from './chains.js'
import { type Publication, portText } from './publication.js'

/**
 * A host port that rules without a record have: the official plugin made them, and cannot be asked whether the
 * container lives.
 */
export interface Held {
  readonly protocol: string
  readonly host: number
  /** The host's address it is for; absent: every one. */
  readonly address?: string
  readonly containerID?: string
  readonly network?: string
  /** The chain the rule is in. */
  readonly chain: string
}

/**
 * Refuses ports that the official plugin has published by either of its backends, as on a node that is being upgraded:
 * its rules come first, ours would be in vain. `chains` are all of nftables: with none of its own among them nothing is
 * read.
 * @throws code 106 naming the holder
 */
export function refuseOfficial(
  host: Host,
  attachment: Attachment,
  publications: readonly Publication[],
  chains: readonly ListedChain[],
): void {
  for (const publication of publications) {
    const { family } = publication
    const has = (table: string, name: string) =>
      chains.some((one) => one.family === family && one.table === table && one.name === name)
    const legacy = legacyTable(host.observer, family, 'nat')
    if (legacy) refuseHeld(heldByChains(legacy.saved), attachment, publication)
    if (has('nat', names.dnat)) {
      refuseHeld(heldByChains(savedRules(host.observer, plainTools[family], 'nat')), attachment, publication)
    }
    if (has(...officialTable)) refuseHeld(heldByRules(host.observer, family), attachment, publication)
  }
}

/** @throws code 106 naming the holder, unless it is another interface of the same container */
export function refuseHeld(held: readonly Held[], attachment: Attachment, { ports }: Publication): void {
  const others = held.filter(({ containerID }) => containerID !== attachment.containerID)
  const byPort = Map.groupBy(others, ({ protocol, host }) => `${protocol} ${host}`)
  for (const port of ports) {
    const holder = byPort
      .get(`${port.protocol} ${port.host}`)
      ?.find(({ address }) => address === undefined || port.address === undefined || address === port.address)
    if (!holder) continue
    throw new CniError(
      codes.portTaken,
      `cannot publish host port ${portText(port)}: it is published by ${who(holder)}`,
      {
        details: `the official plugin's chain ${holder.chain} has it`,
        fix: 'choose another host port, or DEL that attachment',
      },
    )
  }
}

/** The ports that CNI-DN chains have. */
export function heldByChains(saved: SavedRules): readonly Held[] {
  const owners = new Map<string, Pick<Held, 'network' | 'containerID'>>()
  for (const words of saved) if (words[1] === names.dnat) owners.set(words.at(-1) ?? '', ownerIn(words))
  return saved.flatMap(([dash, chain = '', ...words]) => {
    if (dash !== '-A' || !chain.startsWith('CNI-DN-') || !words.includes('DNAT')) return []
    const after = (option: string) => words[words.indexOf(option) + 1] ?? ''
    const address = words.includes('-d') ? { address: after('-d').split('/')[0] as string } : {}
    return [{ protocol: after('-p'), host: Number(after('--dport')), ...address, ...owners.get(chain), chain }]
  })
}

// --- internal

const officialTable = ['cni_hostport', 'hostports'] as const

/** The comment of the rule that leads into a chain: dnat name: \"NETWORK\" id: \"CONTAINER\" */
function ownerIn(rule: readonly string[]): Pick<Held, 'network' | 'containerID'> {
  const comment = rule.find((word) => word.startsWith('"dnat name:'))?.split('\\"') ?? []
  const [, network, , containerID] = comment
  return network === undefined || containerID === undefined ? {} : { network, containerID }
}

/** The ports that rules of the official nftables backend have; their comments are the containers' IDs. */
function heldByRules(observer: Observer, family: 'ip' | 'ip6'): readonly Held[] {
  const [table, chain] = officialTable
  return observer.rules({ family, table, chain }).flatMap(({ matches, comment }) => {
    const of = (wanted: string) => matches.find(({ field }) => field === wanted)
    const [port, address] = [of('dport'), of('daddr')]
    if (!port) return []
    return [
      {
        protocol: port.protocol ?? '',
        host: Number(port.value),
        ...(address ? { address: address.value } : {}),
        ...(comment === undefined ? {} : { containerID: comment }),
        chain: `${family} ${table} ${chain}`,
      },
    ]
  })
}

function who({ containerID, network }: Held): string {
  if (containerID === undefined) return 'a container that no comment names'
  return `container "${containerID}"${network === undefined ? '' : ` (network "${network}")`}`
}
