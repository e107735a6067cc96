import type { Observer } from './observer.js'
import type { Operation } from './operation.js'
import type { KernelRefusal, Report } from './refusal.js'

/** What is left of a plan that the kernel was asked for, in order, and why it refused the first of it, if it did. */
export interface Requested extends KernelRefusal {
  readonly left: readonly Operation[]
}

/** Carries out what the kernel does of a plan, up to the first operation that it refuses or that a tool must do. */
export type RequestPlan = (
  plan: readonly Operation[],
  /**
   * Hears of each operation that ran, in order; of several sent at once some behind the first refused one may have run.
   */
  done: (operation: Operation) => void,
  /** `goesOn`: each is to be tried, whatever becomes of those before it. */
  options?: { readonly goesOn?: boolean },
) => Requested

/**
 * What carries operations out, in two ways: requests to the kernel (netlink/), and tools, which do the rest or say why
 * not (tools/).
 */
export interface Executor {
  readonly request: RequestPlan
  /** Whether the kernel can be asked here: what is in a container then needs no tool. */
  readonly isDirect: () => boolean
  /** The leading groups of a plan that one process can do. */
  readonly leadingGroups: (plan: readonly Operation[]) => readonly (readonly Operation[])[]
  /** Runs such groups, several by one process where their tools take part in that. */
  readonly runGroups: (groups: readonly (readonly Operation[])[], keepGoing: boolean) => readonly Report[]
  /** Runs `body` with a machine in a network namespace made for it; what is made there goes with it. */
  readonly inNewNamespace: <T>(body: (machine: Machine) => T) => T
}

/** What a plan is looked at and carried out with. */
export interface Machine {
  readonly observer: Observer
  readonly executor: Executor
}
