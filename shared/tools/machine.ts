import type { Machine } from '../plan/machine.js'
import type { Netlink } from '../plan/netlink.js'
import type { Tools } from './batch.js'
import { createExecutor } from './executor.js'
import { createObserver } from './observer.js'

/** A machine that is asked and changed by netlink, where there is one, and by tools for the rest. */
export function createMachine(tools: Tools, netlink?: Netlink): Machine {
  return {
    observer: createObserver(tools, netlink),
    executor: {
      ...createExecutor(tools, netlink),
      inNewNamespace: (body) => {
        const tried = netlink?.inNewNamespace((inside) => ({ done: body(createMachine(tools, inside)) }))
        return tried ? tried.done : body(createMachine({ ...tools, run: inNewNamespace(tools) }))
      },
    },
  }
}

// --- internal

/** A namespace for each process: what one makes does not meet what another makes. */
function inNewNamespace({ run }: Tools): Tools['run'] {
  return (command) => run({ ...command, argv: ['unshare', '--net', ...command.argv] })
}
