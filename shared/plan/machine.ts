import type { Observer } from './observer.js'
import type { Operation } from './operation.js'
import type { KernelRefusal, Report } from './refusal.js'

/** How many of a plan's operations the kernel did, and why it refused the one behind them. */
export interface Requested extends KernelRefusal {
  readonly ran: number
}

/**
 * What carries operations out, in two ways: requests to the kernel (netlink/), and tools, which do the rest or say why
 * not (tools/).
 */
export interface Executor {
  /**
   * Asks the kernel for a plan's operations from the first on until one that a tool must do, and tells `done` of each.
   */
  readonly request: (plan: readonly Operation[], done: (operation: Operation) => void) => Requested
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
