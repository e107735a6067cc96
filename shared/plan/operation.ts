import type { Reason } from '../exec/stderr.js'
import type { Code } from '../values/errors.js'

export type Tool =
  | 'ip'
  | 'bridge'
  | 'tc'
  | 'nft'
  | 'sysctl'
  | 'iptables'
  | 'ip6tables'
  | 'iptables-legacy'
  | 'ip6tables-legacy'
  | 'conntrack'
  | 'runcon'

/**
 * One change to the system, as data. It prints as what a person would type (render.ts), runs together with its
 * neighbours (apply.ts) and knows what takes it back.
 */
export interface Operation {
  readonly tool: Tool
  /**
   * The words after the tool's name; of `ip`, a first `-6` is the family that the rest cannot say. Never text to be
   * split again: each is one token (see `assertToken`).
   */
  readonly argv: readonly string[]
  /** Path of the network namespace to run in; absent: the plugin's own, the host. */
  readonly netns?: string
  /** What it is for, phrased to follow "cannot". */
  readonly why: string
  /** Reasons for which a refusal is as good as success ("exists" when ensuring, "absent" when removing). */
  readonly tolerate?: readonly Reason[]
  /** What takes it back, in order; absent when nothing should (shared objects, things that vanish with another). */
  readonly undo?: readonly Operation[]
  /**
   * nft only: nobody needs it at once or acts on its refusal, so it may be made in one transaction with what later
   * plugins of a chain make.
   */
  readonly waits?: true
  /** The link whose being there, or being gone, shows that it ran, where its tool does not say (unclear.ts). */
  readonly shownBy?: { readonly link: string; readonly netns?: string | undefined; readonly exists: boolean }
  /** nft only: declarations the operation relies on. Sent first only when the kernel says they are absent. */
  readonly needs?: readonly Operation[]
  /** nft only: what must go first when the kernel says it exists: the leftover of an owner that is gone. */
  readonly displaces?: readonly Operation[]
  /** What a refusal means to the user, where it means more than "operation failed". */
  readonly meaning?: Partial<Record<Reason, { readonly code: Code; readonly fix: string; readonly says?: string }>>
}
