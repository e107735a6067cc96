import type { Netns } from '../../shared/exec/records.js'
import { formatAddress, parseAddress } from '../../shared/values/address.js'
import type { Kernel } from './kernel.js'

/** Whether an attachment lives, and how that is known. `dead` is proven; what is neither is left alone. */
export interface Life {
  readonly state: 'alive' | 'dead' | 'unknown'
  readonly how: string
}

/** What is known of an attachment that can tell whether it lives. */
export interface Signs {
  /** The namespaces it is said to have: of records with boot and inode, of cached results the path alone. */
  readonly namespaces: readonly Netns[]
  /** Its addresses, with or without prefix lengths. */
  readonly addresses: readonly string[]
  /** A lease of it is on record as of an earlier boot. */
  readonly isOutlived: boolean
}

/** @param kernel absent where the files are another host's */
export function lifeOf({ namespaces, addresses, isOutlived }: Signs, kernel: Kernel | undefined): Life {
  if (!kernel) return { state: 'unknown', how: 'its host cannot be asked' }
  const found = namespaces.map((one) => namespaceLife(one, kernel))
  const known = found.find(({ state }) => state === 'alive') ?? found.find(({ state }) => state === 'unknown')
  if (known) return known
  const [gone] = found
  const { addresses: held, isComplete } = kernel.namespaces()
  const address = ownAddresses(addresses).find((one) => held.has(one))
  const holder = address === undefined ? '' : `${address} is in ${held.get(address)?.[0]}`
  if (!gone) {
    if (holder !== '') return { state: 'alive', how: holder }
    if (isOutlived && isComplete) return { state: 'dead', how: 'its lease is of an earlier boot' }
    return { state: 'unknown', how: 'nothing says which namespace it had' }
  }
  if (holder !== '') return { state: 'unknown', how: `${gone.how}, but ${holder}` }
  if (!isComplete) return { state: 'unknown', how: `${gone.how}; only root sees all namespaces` }
  return { state: 'dead', how: gone.how }
}

/** The addresses that only it may have, in canonical text. */
export function ownAddresses(addresses: readonly string[]): readonly string[] {
  return addresses.flatMap((text) => {
    const parsed = parseAddress(text.split('/')[0] ?? '')
    const address = parsed ? formatAddress(parsed) : ''
    const isShared = address === '' || address === '::1' || address.startsWith('127.') || address.startsWith('fe80:')
    return isShared ? [] : [address]
  })
}

// --- internal

const hostsOwn = '/proc/1/ns/net'

function isSameAs(one: ReturnType<Kernel['namespaceAt']>, other: typeof one): boolean {
  return typeof one === 'number' && one !== 0 && one === other
}

/** `dead` says of the namespace alone that it is gone. */
function namespaceLife({ path, boot, inode, cookie }: Netns, kernel: Kernel): Life {
  if (boot !== undefined && boot !== kernel.bootID) return { state: 'dead', how: `${path} was of an earlier boot` }
  const found = kernel.namespaceAt(path)
  // A process that has the number of the container's, and is the host's.
  const isHosts = inode === undefined && path.startsWith('/proc/') && isSameAs(found, kernel.namespaceAt(hostsOwn))
  const there = isHosts ? 0 : found
  if (there === 'unseen') return { state: 'unknown', how: `${path} may not be looked at by this user` }
  const isSame = (at: string) => {
    const now = cookie === undefined ? undefined : kernel.cookie(at)
    return now === undefined || now === cookie
  }
  if (there && (inode === undefined || (inode === there && isSame(path)))) {
    return { state: 'alive', how: `its namespace is ${path}` }
  }
  const { paths, mounted } = kernel.namespaces()
  // Where the runtime has a mount namespace of its own, the path is there and not here.
  const kept = inode === undefined ? mounted.get(path.replace(/^\/var\/run\//, '/run/')) : paths.get(inode)
  if (kept !== undefined && isSame(kept)) return { state: 'alive', how: `its namespace is kept by ${kept}` }
  return { state: 'dead', how: there === undefined ? `${path} is gone` : `${path} is no longer its namespace` }
}
