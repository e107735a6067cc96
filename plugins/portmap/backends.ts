import type { SavedTables } from '../../shared/net/iptables.js'
import { removeUnusedChains } from '../../shared/net/nft-chains.js'
import type { Observer } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import {
  chainProblems,
  publishChains,
  removeStaleChains,
  type Saved,
  seenForChains,
  seenOfChains,
  unpublishChains,
  withdrawChains,
} from './iptables.js'
import { type Left, staleTools } from './left.js'
import { elementProblems, ownElements, publish, removeElements, unpublish } from './nftables.js'
import { officialRules, removeOfficialRules } from './official.js'
import type { Backend } from './portmap.schema.js'
import type { Publication, Published } from './publication.js'
import { isShared } from './tables.js'

/** One way of publishing ports. Nothing here changes anything: who calls, applies what is planned. */
interface PortmapBackend {
  /**
   * Who decides between two that want one port: the kernel, which refuses the second, or who has the lock and looks
   * first.
   */
  readonly arbiter: 'kernel' | 'lock'
  /** Whether packets to ::1 come to the rules. */
  readonly takesLoopback6: boolean
  /** What has to be seen before these publications are made, or any are removed. */
  readonly look: (observer: Observer, publications?: readonly Publication[]) => Saved
  /** Code `portTaken` where a port is somebody's: thrown, or what the kernel's refusal means. */
  readonly publish: (attachment: Attachment, published: Published, seen: Saved) => readonly Operation[]
  /** Code `unknownContainer` where what was made is no longer the attachment's. */
  readonly withdraw: (attachment: Attachment, published: Published, seen: Saved) => readonly Operation[]
  /**
   * The same by the owner's name, without a record, of what there may be; with `addresses` what the official plugin
   * made is only for those.
   */
  readonly withdrawByOwner: (
    observer: Observer,
    attachment: Attachment,
    left: Left,
    addresses?: readonly string[],
  ) => readonly Operation[]
  /** What CHECK finds missing. */
  readonly differences: (observer: Observer, attachment: Attachment, expected: Published) => readonly Problem[]
  /** What nobody uses any more, for GC of a network. */
  readonly collect: (observer: Observer, network: string, valid: ReadonlySet<string>) => readonly Operation[]
}

const noTables: SavedTables = new Map()

export const backends: Readonly<Record<Backend, PortmapBackend>> = {
  nftables: {
    arbiter: 'kernel',
    takesLoopback6: false,
    look: () => ({ nat: noTables, raw: [] }),
    publish: (attachment, { publications }) => publications.flatMap((one) => publish(attachment, one)),
    withdraw: (attachment, { publications }) =>
      publications.length === 0 ? [] : [unpublish(attachment, publications)],
    withdrawByOwner: (observer, attachment, { own, official }, addresses = []) => [
      ...removeElements(attachment, ownElements(observer, attachment, own)),
      ...removeOfficialRules(attachment, officialRules(observer, attachment, { families: official, addresses })),
    ],
    differences: (observer, attachment, { publications }) => elementProblems(observer, attachment, publications),
    collect: (observer) => removeUnusedChains(observer.unusedChains(isShared)),
  },
  iptables: {
    arbiter: 'lock',
    takesLoopback6: true,
    look: (observer, publications) => (publications ? seenForChains(observer, publications) : seenOfChains(observer)),
    publish: publishChains,
    withdraw: withdrawChains,
    // Both suites' chains have the same names.
    withdrawByOwner: (observer, attachment, { tools }) => unpublishChains(attachment, seenOfChains(observer, tools)),
    differences: chainProblems,
    collect: (observer, network, valid) =>
      removeStaleChains(seenOfChains(observer, staleTools(observer, network, valid)), network, valid),
  },
}
