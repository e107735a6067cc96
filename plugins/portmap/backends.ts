import { removeUnusedChains } from '../../shared/net/nft-chains.js'
import type { ListedChain, Observer, UnusedChains } from '../../shared/plan/observer.js'
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
import { type Collected, type Left, staleTools } from './left.js'
import { elementProblems, type OwnElement, ownElements, publish, removeElements, unpublish } from './nftables.js'
import { type OfficialRule, officialRules, removeOfficialRules } from './official.js'
import type { Backend } from './portmap.schema.js'
import type { Publication, Published } from './publication.js'

/** One way of publishing ports. Nothing here changes anything: who calls, applies what is planned. */
export interface PortmapBackend {
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
   * What there is by the owner's name, without a record, of what there may be; with `addresses` what the official
   * plugin made is only for those.
   */
  readonly lookByOwner: (
    observer: Observer,
    attachment: Attachment,
    left: Left,
    addresses?: readonly string[],
  ) => OwnerSeen
  readonly withdrawByOwner: (attachment: Attachment, seen: OwnerSeen) => readonly Operation[]
  /** What CHECK finds missing. */
  readonly differences: (observer: Observer, attachment: Attachment, expected: Published) => readonly Problem[]
  /** What nobody uses any more, for GC of a network. */
  readonly lookToCollect: (observer: Observer, of: Collected, found: UnusedChains) => CollectSeen
  readonly collect: (of: Collected, seen: CollectSeen) => readonly Operation[]
}

/** What bears an owner's name; what a backend does not ask is empty. */
interface OwnerSeen {
  readonly saved: Saved
  readonly own: readonly OwnElement[]
  readonly official: readonly OfficialRule[]
}

/** What may be nobody's; what a backend does not ask is empty. */
interface CollectSeen {
  readonly saved: Saved
  readonly unused: readonly ListedChain[]
}

const nothingSaved: Saved = { nat: new Map(), raw: [] }

export const backends: Readonly<Record<Backend, PortmapBackend>> = {
  nftables: {
    arbiter: 'kernel',
    takesLoopback6: false,
    look: () => nothingSaved,
    publish: (attachment, { publications }) => publications.flatMap((one) => publish(attachment, one)),
    withdraw: (attachment, { publications }) =>
      publications.length === 0 ? [] : [unpublish(attachment, publications)],
    lookByOwner: (observer, attachment, { own, official }, addresses = []) => ({
      saved: nothingSaved,
      own: ownElements(observer, attachment, own),
      official: officialRules(observer, attachment, { families: official, addresses }),
    }),
    withdrawByOwner: (attachment, { own, official }) => [
      ...removeElements(attachment, own),
      ...removeOfficialRules(attachment, official),
    ],
    differences: (observer, attachment, { publications }) => elementProblems(observer, attachment, publications),
    lookToCollect: (_observer, _of, { unused }) => ({ saved: nothingSaved, unused }),
    collect: (_of, { unused }) => removeUnusedChains(unused),
  },
  iptables: {
    arbiter: 'lock',
    takesLoopback6: true,
    look: (observer, publications) => (publications ? seenForChains(observer, publications) : seenOfChains(observer)),
    publish: publishChains,
    withdraw: withdrawChains,
    // Both suites' chains have the same names.
    lookByOwner: (observer, _, { tools }) => ({ saved: seenOfChains(observer, tools), own: [], official: [] }),
    withdrawByOwner: (attachment, { saved }) => unpublishChains(attachment, saved),
    differences: chainProblems,
    lookToCollect: (observer, of, { along }) => ({
      saved: seenOfChains(observer, staleTools(observer, of, along)),
      unused: [],
    }),
    collect: ({ network, valid }, { saved }) => removeStaleChains(saved, network, valid),
  },
}
